/**
 * Requests to the Hub. Every answer is a stranger's: its length is bounded, redirects are few and never to plain HTTP, and the token goes
 * to the endpoint alone. What may go well the next time (429, 5xx, a connection that was cut) is tried again, with pauses; the rest is a
 * `HubError` of one sentence.
 */
import { Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { type Answer, drained, parsed, pauseOf, redirected } from './answers.js'
import { HubError, networkProblem, Passing, refusalText } from './errors.js'
import type { HubSettings } from './settings.js'

export interface HubOptions {
  readonly signal?: AbortSignal
  /** A sentence about waiting. */
  readonly onNote?: (sentence: string) => void
  /** Seconds before each further try. */
  readonly pauses?: readonly number[]
  /** Milliseconds without a byte after which a connection counts as cut. */
  readonly silence?: number
}

export interface Request {
  readonly headers?: Readonly<Record<string, string>>
  /** GET by default. */
  readonly method?: 'GET' | 'POST' | 'PUT'
  /** A text, or what makes a stream of `length` bytes, for each try anew. */
  readonly body?: string | (() => AsyncIterable<Uint8Array>)
  readonly length?: number
  /** Ends this request alone. */
  readonly signal?: AbortSignal
  /** Refusals that the caller deals with: their answers are given back. */
  readonly accepts?: readonly number[]
  /** Clause for a refusal; undefined for the usual one. */
  readonly refusal?: (status: number) => string | undefined
}

const defaultPauses = [0.5, 1, 2, 4, 8, 16]
const defaultSilence = 30_000
const mostHops = 5
/** Of a request that somebody waits for and that loses nothing. */
const shortTries = 4
/** A Hub that asks for a longer pause is not waited for. */
const mostPause = 300
const mostJson = 32 * 2 ** 20

export class HubClient {
  #dispatcher: Promise<{ dispatcher: Dispatcher; request: typeof import('undici').request }> | undefined

  constructor(
    readonly settings: HubSettings,
    private readonly options: HubOptions = {},
  ) {}

  get signal(): AbortSignal | undefined {
    return this.options.signal
  }

  note(sentence: string): void {
    this.options.onNote?.(sentence)
  }

  /** An address of the endpoint. @param path escaped, without a slash at the beginning */
  url(path: string): URL {
    return new URL(`${this.settings.endpoint}/${path}`)
  }

  /** A JSON answer of at most 32 MB. @param about what is asked for, for messages. @throws HubError */
  json(about: string, url: URL, request: Request = {}): Promise<unknown> {
    return this.persistently(
      about,
      async () => {
        const answer = await this.open(about, url, {
          ...request,
          headers: { accept: 'application/json', ...request.headers },
        })
        return parsed(about, await this.bytes(about, answer, mostJson))
      },
      shortTries,
    )
  }

  /** All bytes of an answer. @throws HubError for more than `most` */
  async bytes(about: string, { body, headers }: Answer, most: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    let length = 0
    const tooLong = () =>
      new HubError(about, `the answer is longer than ${most / 2 ** 20} MiB; check HF_ENDPOINT`)
    if (Number(headers['content-length'] ?? 0) > most) {
      body.destroy()
      throw tooLong()
    }
    for await (const chunk of body) {
      length += chunk.length
      if (length > most) {
        body.destroy()
        throw tooLong()
      }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, length)
  }

  /**
   * The answer to a request, after redirects, with its body still to be read.
   * @param onFinal called with the last address
   * @throws HubError for a refusal; Passing for what is worth another try
   */
  async open(
    about: string,
    start: URL,
    request: Request = {},
    onFinal?: (url: URL) => void,
  ): Promise<Answer> {
    let url = start
    for (let hops = 0; ; hops++) {
      const answer = await this.#send(url, request)
      const { statusCode: status, headers, body } = answer
      const location = headers.location
      if (request.accepts?.includes(status)) return answer
      if ([301, 302, 303, 307, 308].includes(status) && typeof location === 'string') {
        await drained(body)
        if (status < 307 && request.method !== undefined)
          throw new HubError(
            about,
            'the Hub answers with a page elsewhere; check the name and HF_ENDPOINT',
            status,
          )
        if (hops === mostHops) throw new HubError(about, 'its redirects lead to each other', status)
        url = redirected(about, url, location)
        continue
      }
      if (status >= 200 && status < 300) {
        onFinal?.(url)
        return answer
      }
      await drained(body)
      if (status === 429)
        throw new Passing('the Hub asks for fewer requests (HTTP status 429)', pauseOf(headers), 429)
      if (status >= 500 || status === 408)
        throw new Passing(`the Hub failed with HTTP status ${status}`, pauseOf(headers), status)
      const said = this.isOwn(url) ? request.refusal?.(status) : undefined
      throw new HubError(about, said ?? this.#refusal(url, status, headers), status)
    }
  }

  /**
   * Repeats work for as long as it fails in passing; once `advanced` was called the pauses begin anew.
   * @throws HubError for the last failure, or what the work throws
   */
  async persistently<T>(
    about: string,
    work: (advanced: () => void) => Promise<T>,
    mostTries = Number.POSITIVE_INFINITY,
  ): Promise<T> {
    const pauses = (this.options.pauses ?? defaultPauses).slice(0, mostTries - 1)
    let tries = 0
    for (;;) {
      this.signal?.throwIfAborted()
      try {
        return await work(() => {
          tries = 0
        })
      } catch (error) {
        this.signal?.throwIfAborted()
        const passing = passingOf(about, error)
        const { after } = passing
        if (after !== undefined && after > mostPause)
          throw new HubError(
            about,
            `${passing.problem} and for a pause of ${Math.ceil(after)} s; try again after that`,
            passing.status,
          )
        if (tries >= pauses.length)
          throw new HubError(
            about,
            `${passing.problem}, ${tries + 1} times in a row; try again later`,
            passing.status,
          )
        const pause = Math.max(after ?? 0, pauses[tries++])
        if (pause >= 2) this.note(`${about}: ${passing.problem}; trying again in ${Math.ceil(pause)} s`)
        await setTimeout(1000 * pause, undefined, this.signal && { signal: this.signal }).catch((error) => {
          this.signal?.throwIfAborted()
          throw error
        })
      }
    }
  }

  async close(): Promise<void> {
    await (await this.#dispatcher)?.dispatcher.destroy()
    this.#dispatcher = undefined
  }

  async #send(url: URL, { headers, method, body, length, signal: own }: Request): Promise<Answer> {
    this.#dispatcher ??= this.#connect()
    const { dispatcher, request } = await this.#dispatcher
    const { token } = this.settings
    const signals = [this.signal, own].filter((each) => each !== undefined)
    const streamed = typeof body === 'function'
    return request(url, {
      dispatcher,
      ...(method && { method }),
      ...(body !== undefined && { body: streamed ? Readable.from(body(), { objectMode: false }) : body }),
      // Sending takes its time; who streams watches over it.
      ...(streamed && { headersTimeout: 0 }),
      headers: {
        'user-agent': 'quench',
        'accept-encoding': 'identity',
        ...(length !== undefined && { 'content-length': String(length) }),
        ...(token !== undefined && this.isOwn(url) && { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(signals.length > 0 && { signal: AbortSignal.any(signals) }),
    })
  }

  /** Whether it is an address of the endpoint, which the token is sent to. */
  isOwn(url: URL): boolean {
    return url.origin === new URL(this.settings.endpoint).origin
  }

  /** An address that an answer names. @throws HubError for one that is none, or not safe */
  named(about: string, href: unknown): URL {
    const url =
      typeof href === 'string' && href.length < 2 ** 14 && URL.canParse(href) ? new URL(href) : undefined
    const plain = new URL(this.settings.endpoint).protocol === 'http:'
    if (!url || !(url.protocol === 'https:' || (plain && url.protocol === 'http:')))
      throw new HubError(about, 'the Hub names an address that is not safe; check HF_ENDPOINT')
    return url
  }

  /** Milliseconds without a byte after which a connection counts as cut. */
  get silence(): number {
    return this.options.silence ?? defaultSilence
  }

  #refusal(url: URL, status: number, headers: Answer['headers']): string {
    const [code, message] = [headers['x-error-code'], headers['x-error-message']]
    if (status === 400 && typeof message === 'string') return `the Hub refuses it: ${message.slice(0, 300)}`
    const [, repository] =
      /^(?:\/api\/models)?\/((?:[^/]+\/)?[^/]+)\/(?:resolve|revision)\//.exec(url.pathname) ?? []
    return refusalText({
      status,
      ...(typeof code === 'string' && { code }),
      token: this.settings.token !== undefined,
      page: repository === undefined ? this.settings.endpoint : `${this.settings.endpoint}/${repository}`,
    })
  }

  /** Loaded for the first request: most commands need none. Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY. */
  async #connect() {
    const { EnvHttpProxyAgent, request } = await import('undici')
    const { silence } = this
    try {
      const dispatcher = new EnvHttpProxyAgent({
        headersTimeout: silence,
        bodyTimeout: silence,
        connect: { timeout: silence },
      })
      return { dispatcher, request }
    } catch (error) {
      throw new HubError(
        'HTTPS_PROXY',
        'the address of the proxy cannot be used; it must be one such as http://host:3128',
        undefined,
        { cause: error },
      )
    }
  }
}

/** @throws what is not in passing */
function passingOf(about: string, error: unknown): Passing {
  if (error instanceof Passing) return error
  const problem = networkProblem(error)
  if (!problem) throw error
  if (!problem.passing) throw new HubError(about, problem.text, undefined, { cause: error })
  return new Passing(problem.text)
}
