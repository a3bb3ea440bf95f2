/** A file on the Hub, read in ranges. The Hub redirects to a store with an address that is valid for some time; it is kept until then. */
import type { HubClient } from './client.js'
import { HubError, Passing } from './errors.js'
import { encodePath, nameOf, type Repository, type RepositoryFile } from './repository.js'

/** A server without ranges gives all bytes of a file, of which the first ones are dropped. */
const mostSkipped = 2 ** 25

export class RemoteFile {
  readonly name: string
  readonly #start: URL
  #final: URL | undefined

  constructor(
    readonly hub: HubClient,
    repository: Repository,
    private readonly file: RepositoryFile,
  ) {
    this.name = nameOf(repository, file.path)
    this.#start = hub.url(`${repository.id}/resolve/${repository.commit}/${encodePath(file.path)}`)
  }

  get size(): number {
    return this.file.size
  }

  /** The bytes from `start` to before `end`. @throws Passing, HubError for an answer that is not these bytes */
  async *stream(start: number, end: number): AsyncGenerator<Uint8Array> {
    const { name, size } = this
    const whole = start === 0 && end === size
    const answer = await this.#open(whole ? {} : { range: `bytes=${start}-${end - 1}` })
    const { statusCode, headers, body } = answer
    try {
      const range = headers['content-range']
      const length = headers['content-length']
      const isPage = /^text\/html/.test(String(headers['content-type'])) && !/\.html?$/i.test(this.file.path)
      const isPart = statusCode === 206 && range === `bytes ${start}-${end - 1}/${size}`
      const isWhole = statusCode === 200 && (length === undefined || Number(length) === size)
      if (isPage)
        throw new HubError(
          name,
          'a web page came instead of the file; check HF_ENDPOINT, the proxy, and whether the network wants a login',
        )
      if (!isPart && !(isWhole && (whole || size <= mostSkipped)))
        throw new HubError(
          name,
          `the file is not what the Hub lists: ${size} bytes are listed, and the answer is status ${statusCode} with ${range ?? length}; try again`,
        )
      let at = isPart ? start : 0
      for await (const chunk of body as AsyncIterable<Buffer>) {
        const wanted = chunk.subarray(Math.max(0, start - at))
        at += chunk.length
        if (at > end && (isPart || at > size))
          throw new HubError(name, `more bytes came than the ${end - start} that were asked for`)
        if (wanted.length > 0) yield wanted.subarray(0, wanted.length - Math.max(0, at - end))
        if (at >= end && !isPart) break
      }
    } finally {
      body.on('error', () => {}) // of its end
      body.destroy()
    }
  }

  /** The bytes from `start` to before `end`, with further tries. @throws HubError */
  read(start: number, end: number): Promise<Buffer> {
    return this.hub.persistently(this.name, async () => {
      const chunks: Uint8Array[] = []
      for await (const chunk of this.stream(start, end)) chunks.push(chunk)
      const bytes = Buffer.concat(chunks)
      if (bytes.length < end - start) throw new Passing('the connection was cut')
      return bytes
    })
  }

  async #open(headers: Record<string, string>) {
    const from = this.#final
    try {
      return await this.hub.open(this.name, from ?? this.#start, { headers }, (url) => {
        this.#final = url
      })
    } catch (error) {
      if (!from || !(error instanceof HubError)) throw error
      this.#final = undefined // it may be valid no longer
      return this.hub.open(this.name, this.#start, { headers })
    }
  }
}
