/** What a quantized file says of how it was made. */
import type { Gguf } from '../gguf/index.js'
import { originsOf, Provenance } from '../provenance/provenance.js'
import type { QuantizeSettings } from './options.js'

/** Threads, and what only allows the work, do not change the output and are left out. */
export function provenanceOf(
  { files, metadata }: Gguf,
  type: string,
  settings: QuantizeSettings,
): Provenance {
  const {
    threads: _,
    allowRequantize: __,
    keepSplit: ___,
    imatrix,
    imatrixName: ____,
    overrideKv,
    ...others
  } = settings
  const { method, tensorTypes = [], pruneLayers = [], ...options } = others
  return new Provenance({
    command: 'quantize',
    options: {
      type,
      ...(method !== 'reference' && { method }),
      ...options,
      tensorTypes: tensorTypes.map(({ pattern, type }) => `${pattern}=${type}`),
      pruneLayers: pruneLayers.map(String),
      overrideKv: overrideKv?.map(({ key }) => key),
    },
    origins: originsOf(files, imatrix),
    input: metadata,
  })
}
