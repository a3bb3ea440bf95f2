/** Sources of the default training text from which only source code is taken. */

import { code } from './code.js'
import type { Source } from './source.js'

export const calibrationCode: readonly Source[] = [
  {
    registry: 'pypi',
    name: 'lz4',
    version: '4.4.5',
    file: 'lz4-4.4.5.tar.gz',
    sha256: '5f0b9e53c1e82e88c10d7c180069363980136b9d7a8306c4dca4f760d60c39f0',
    license: 'BSD-3-Clause',
    takes: [
      {
        kind: 'code',
        what: 'C',
        files: /\/lz4\/\w+\/_\w+\.c$/,
        cut: code,
        characters: 18_000,
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
    licenseFiles: /\/tokenizers\/LICENSE$/,
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
