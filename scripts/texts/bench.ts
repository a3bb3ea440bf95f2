/** Sources of the benches' texts; none of them ship. */

import { code } from './code.js'
import { lessons, rstQuestions, solvedProblems } from './conversations.js'
import { markdown, rst } from './markup.js'
import { prose } from './prose.js'
import type { Source } from './source.js'
import { nodeHelp } from './special.js'

export const bench: readonly Source[] = [
  {
    registry: 'pypi',
    name: 'brotli',
    version: '1.2.1',
    file: 'brotli-1.2.1.tar.gz',
    sha256: '02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de',
    license: 'MIT; the text is in the public domain',
    takes: [
      {
        kind: 'prose',
        what: 'proceedings of a workshop on electronic texts',
        files: /testdata\/lcet10\.txt$/,
        cut: prose(),
        characters: 33_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'reportlab',
    version: '5.1.0',
    file: 'reportlab-5.1.0.tar.gz',
    sha256: '6878200464527e87672d19e9f7cfc6bb890e3a6931e74ac6a1a8d1754aa55671',
    license: 'BSD-3-Clause; the book is in the public domain',
    takes: [
      {
        kind: 'prose',
        what: 'Homer, The Odyssey, translated by Samuel Butler',
        files: /odyssey\.txt$/,
        cut: prose(),
        characters: 8_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'lm-eval',
    version: '0.4.13',
    file: 'lm_eval-0.4.13.tar.gz',
    sha256: 'f592269f21a5e173d7993ae01267f61fc84be393cee1f51779e3e104a70c967e',
    license: 'MIT',
    takes: [
      {
        kind: 'conversations',
        what: 'solved problems of arithmetic',
        files: /gsm8k\/gsm8k-cot\.yaml$/,
        cut: solvedProblems,
        characters: 5_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'astropy',
    version: '8.0.2',
    file: 'astropy-8.0.2.tar.gz',
    sha256: 'e6af35823099ad6a40b57dbe5ff845f577374ea131925c9fa4b49eeab06c5310',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'documentation',
        files: /\/docs\/(?:coordinates|units|time|modeling|cosmology|stats|wcs)\/.*\.rst$/,
        cut: rst,
        characters: 20_000,
      },
      {
        kind: 'code',
        what: 'Python',
        files: /\/astropy\/(?:stats|units|utils|coordinates)\/[^/]*\.py$/,
        cut: code,
        characters: 6_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'twisted',
    version: '26.10.0',
    file: 'twisted-26.10.0.tar.gz',
    sha256: '5f0355403e507fc23ceea85e9dbb4bc59335aabde41dd324e8b8cea180dd38de',
    license: 'MIT',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'documentation',
        files: /\/docs\/.*\.rst$/,
        cut: rst,
        characters: 20_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'learnyounode',
    version: '4.2.2',
    sha256: 'c51ff981a2751b7daf141a92ecf1c7eff4a5d9bca1cff3b879b1fee2c268745f',
    license: 'MIT',
    takes: [
      {
        kind: 'conversations',
        what: 'tasks in several languages and their solutions',
        files: /exercises\/[^/]*\/(?:problem.*\.md|solution\/solution\.js)$/,
        cut: lessons(/problem(?:\.([\w-]+))?\.md$/, (path) =>
          path.replace(/problem[^/]*$/, 'solution/solution.js'),
        ),
        characters: 28_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'celery',
    version: '5.7.0',
    file: 'celery-5.7.0.tar.gz',
    sha256: '6a5dfcf6662287204f009a02002b9e66c83d4105e47ebabdc7079108772fc6f0',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'conversations',
        what: 'frequently asked questions',
        files: /\/docs\/faq\.rst$/,
        cut: rstQuestions,
        characters: 14_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: '@node-red/nodes',
    version: '5.0.7',
    sha256: '7f7f66869382f0015f87c88353f1cf3a92754c0e65e64758126e41f995a1f022',
    license: 'Apache-2.0',
    takes: [
      {
        kind: 'languages',
        what: 'help in several languages',
        files: /locales\/(?!en-US).*\.html$/,
        cut: nodeHelp,
        characters: 40_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'jep',
    version: '4.3.2',
    file: 'jep-4.3.2.tar.gz',
    sha256: '4deb6f9f5bc993a0818861efc5323ccc71373c4c38f303fc412998f02dde6e5c',
    license: 'Zlib',
    takes: [
      {
        kind: 'code',
        what: 'Java and C',
        files: /src\/main\/.*\.(?:java|c)$/,
        cut: code,
        characters: 10_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'paddleocr',
    version: '3.7.0',
    file: 'paddleocr-3.7.0.tar.gz',
    sha256: '9b81eb62cf37e590d4873e60262ff56f968ff9de6ce1f565749760ceb1c422e2',
    license: 'Apache-2.0',
    takes: [
      {
        kind: 'languages',
        what: 'Arabic',
        files: /readme\/README_ar\.md$/,
        cut: markdown(() => 'ar'),
        characters: 5_000,
      },
      {
        kind: 'code',
        what: 'Go and TypeScript',
        files: /api_sdk\/(?:go|typescript)\/.*(?<!_test|\.test)\.(?:go|ts)$/,
        cut: code,
        characters: 10_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'rpds-py',
    version: '2026.9.1',
    file: 'rpds_py-2026.9.1.tar.gz',
    sha256: '4793ef7f78268b124b73fa933440f01d258bbae01de9fa53e9080c9ab0425a12',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'Rust', files: /src\/.*\.rs$/, cut: code, characters: 6_000 }],
  },
  {
    registry: 'npm',
    name: 'express',
    version: '5.3.0',
    sha256: '62450d99e36dc393295f1ddd93cb9291e658c169f3b700b0110c1ae8fa799930',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'JavaScript', files: /lib\/.*\.js$/, cut: code, characters: 6_000 }],
  },
  {
    registry: 'npm',
    name: 'n',
    version: '10.2.0',
    sha256: '3ac3d1eb7d1a6f2aeb97a229deadc4fe9e71217bc37cde9b45cf143e0878a081',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'Shell', files: /bin\/n$/, cut: code, characters: 5_000 }],
  },
]
