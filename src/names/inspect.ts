/** What is in a model of any name. Of a repository only headers are read, in ranges, unless its files are here already. */
import { inspectCheckpoint, inspectRemoteCheckpoint } from '../convert/inspect.js'
import { openGguf } from '../gguf/index.js'
import { type Inspection, inspectGguf, openRemote } from '../gguf/inspect.js'
import { HubClient } from '../hub/client.js'
import { RemoteFile } from '../hub/remote-file.js'
import { nameOf } from '../hub/repository.js'
import { hubSettings } from '../hub/settings.js'
import { type ProvenanceStep, stepsOf } from '../provenance/record.js'
import { fetchModel, findModel, type ResolveOptions } from './resolve.js'

export interface InspectedModel {
  readonly inspection: Inspection
  /** Whether it is a GGUF file whose weights are here too. */
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
    const inspect = kind === 'checkpoint' ? inspectFolder : inspectHere
    if (!repository) return await inspect(path)
    if (repository.cached || files.every(({ present }) => present)) {
      // They may still lack their names in the snapshot of a newer commit.
      const pulled = await fetchModel(hub, found)
      return await inspect(pulled.path)
    }
    const sources = remote.map((file) => new RemoteFile(hub, repository, file))
    if (kind === 'checkpoint') {
      const byName = new Map(remote.map(({ path }, i) => [path, sources[i]]))
      return {
        inspection: await inspectRemoteCheckpoint(nameOf(repository), byName),
        here: false,
        made: [],
      }
    }
    const gguf = await openRemote(sources)
    const sizes = sources.map(({ size }) => size)
    return { inspection: await inspectGguf(gguf, sizes), here: false, made: stepsOf(gguf.metadata) }
  } finally {
    await hub.close()
  }
}

/** Of a checkpoint no grid is looked for. */
const inspectFolder = async (path: string): Promise<InspectedModel> => ({
  inspection: await inspectCheckpoint(path),
  here: false,
  made: [],
})

async function inspectHere(path: string): Promise<InspectedModel> {
  const gguf = await openGguf(path)
  try {
    return { inspection: await inspectGguf(gguf), here: true, made: stepsOf(gguf.metadata) }
  } finally {
    await gguf.close()
  }
}
