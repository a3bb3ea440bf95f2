/** What a converted file says of how it was made. */
import { join } from 'node:path'
import { type Checkpoint, checkpointFiles, filesIn } from '../checkpoint/index.js'
import { Provenance } from '../provenance/provenance.js'
import { statIfThere } from '../system-errors.js'

/** Made from the files of the checkpoint that tell of the model, and those of the adapter's folder. */
export function provenanceOf(
  { folder, files }: Checkpoint,
  adapter: string | undefined,
  type: string,
): Provenance {
  const read = (of: string, names: Iterable<string>) =>
    checkpointFiles([...names])
      .filter((name) => !/^LICENSE/i.test(name))
      .toSorted()
      .map((name) => join(of, name))
      .filter((path) => statIfThere(path)?.isFile())
  return new Provenance({
    command: 'convert',
    options: { type },
    origins: [
      ...read(folder, files).map((path) => ({ role: 'model', path }) as const),
      ...(adapter === undefined
        ? []
        : read(adapter, filesIn(adapter)).map((path) => ({ role: 'adapter', path }) as const)),
    ],
  })
}
