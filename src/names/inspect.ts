/** What is in a model of any name. Of a repository only headers are read, in ranges, unless its files are here already. */
import { FileError } from '../errors.js'
import { openGguf } from '../gguf/index.js'
import { type Inspection, inspectGguf, openRemote } from '../gguf/inspect.js'
import { HubClient } from '../hub/client.js'
import { RemoteFile } from '../hub/remote-file.js'
import { hubSettings } from '../hub/settings.js'
import { type ProvenanceStep, stepsOf } from '../provenance/record.js'
import { fetchModel, findModel, type ResolveOptions } from './resolve.js'

export interface InspectedModel {
  readonly inspection: Inspection
  /** Whether the weights are here too. */
  readonly here: boolean
  /** How quench made it; empty if it does not say. */
  readonly made: readonly ProvenanceStep[]
}

/** @throws FileError, HubError, UsageError */
export async function inspectModel(name: string, options: ResolveOptions = {}): Promise<InspectedModel> {
  const hub = new HubClient(hubSettings(), options)
  try {
    const found = await findModel(hub, name, options)
    const { model, remote } = found
    const { kind, path, repository, files } = model
    if (kind === 'checkpoint')
      throw new FileError(
        model.name,
        'it is a checkpoint of safetensors, not a GGUF file; its config.json and README say what it is',
      )
    if (!repository) return await inspectHere(path)
    if (repository.cached || files.every(({ present }) => present)) {
      // They may still lack their names in the snapshot of a newer commit.
      const pulled = await fetchModel(hub, found)
      return await inspectHere(pulled.path)
    }
    const sources = remote.map((file) => new RemoteFile(hub, repository, file))
    const gguf = await openRemote(sources)
    const sizes = sources.map(({ size }) => size)
    return { inspection: await inspectGguf(gguf, sizes), here: false, made: stepsOf(gguf.metadata) }
  } finally {
    await hub.close()
  }
}

async function inspectHere(path: string): Promise<InspectedModel> {
  const gguf = await openGguf(path)
  try {
    return { inspection: await inspectGguf(gguf), here: true, made: stepsOf(gguf.metadata) }
  } finally {
    await gguf.close()
  }
}
