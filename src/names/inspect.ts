/** What is in a model of any name. Of a repository only headers are read, in ranges, unless its files are here already. */
import { FileError } from '../errors.js'
import { type Inspection, inspectFile, inspectRemote } from '../gguf/inspect.js'
import { HubClient } from '../hub/client.js'
import { RemoteFile } from '../hub/remote-file.js'
import { hubSettings } from '../hub/settings.js'
import { fetchModel, findModel, type ResolveOptions } from './resolve.js'

export interface InspectedModel {
  readonly inspection: Inspection
  /** Whether the weights are here too. */
  readonly here: boolean
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
    if (!repository) return { inspection: await inspectFile(path), here: true }
    if (repository.cached || files.every(({ present }) => present)) {
      // They may still lack their names in the snapshot of a newer commit.
      const pulled = await fetchModel(hub, found)
      return { inspection: await inspectFile(pulled.path), here: true }
    }
    const sources = remote.map((file) => new RemoteFile(hub, repository, file))
    return { inspection: await inspectRemote(sources), here: false }
  } finally {
    await hub.close()
  }
}
