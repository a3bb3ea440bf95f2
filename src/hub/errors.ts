/** What goes wrong between here and the Hub, each as one sentence. */
import { QuenchError } from '../errors.js'

/** The Hub, or what stands between, did not give what was asked for. */
export class HubError extends QuenchError {
  override name = 'HubError'
  constructor(
    /** Repository, or file of one, as in `hf:org/model:file.gguf`. */
    readonly subject: string,
    readonly problem: string,
    /** HTTP status, if there was an answer. */
    readonly status?: number,
    options?: ErrorOptions,
  ) {
    super(`${subject}: ${problem}`, options)
  }
}

/** Something that may go well the next time. */
export class Passing extends Error {
  override name = 'Passing'
  constructor(
    readonly problem: string,
    /** Seconds to wait at least. */
    readonly after?: number,
    readonly status?: number,
  ) {
    super(problem)
  }
}

export interface Refusal {
  readonly status: number
  /** `X-Error-Code`. */
  readonly code?: string
  /** Whether a token was sent. */
  readonly token: boolean
  /** Page of the repository. */
  readonly page: string
}

const login = 'set HF_TOKEN to a token of yours, or log in with `hf auth login`'

/** The clause for an answer that a second try would not change. */
export function refusalText({ status, code, token, page }: Refusal): string {
  if (code === 'GatedRepo')
    return token
      ? `its owners grant access on request; ask for it on ${page}, and try again`
      : `its owners grant access on request; ask for it on ${page}, then ${login}`
  if (code === 'RevisionNotFound') return 'the repository has no such revision; check what follows the @'
  if (code === 'EntryNotFound') return 'the repository has no such file; check what follows the colon'
  if (status === 401 && token)
    return 'the Hub refuses the token; check HF_TOKEN, or log in anew with `hf auth login`'
  if (status === 401) return `there is no such repository, or it is private; check the name, or ${login}`
  if (status === 403)
    return token
      ? `the token gives no access to it; ask for access on ${page}, or use another token`
      : `access is forbidden; ask for it on ${page}, then ${login}`
  if (status === 404) return 'the Hub has nothing of that name; check the name'
  return `the Hub answered with HTTP status ${status}`
}

/** Why there was no answer, as a clause; undefined for an error that is none of the network. */
export function networkProblem(error: unknown): { text: string; passing: boolean } | undefined {
  const code = codeOf(error)
  if (code === undefined) return undefined
  const known = reasons.find(([codes]) => codes.test(code))
  if (!known) return undefined
  return { text: known[1], passing: known[2] }
}

const reasons: readonly (readonly [codes: RegExp, text: string, passing: boolean])[] = [
  [/^(ENOTFOUND|EAI_AGAIN)$/, 'its host is not found; check the connection, HF_ENDPOINT and the proxy', true],
  [/^ECONNREFUSED$/, 'its host refuses the connection; check HF_ENDPOINT and the proxy', true],
  [/^(ENETUNREACH|EHOSTUNREACH|ENETDOWN)$/, 'the network is not reachable; check the connection', true],
  [/^(ECONNRESET|EPIPE|UND_ERR_SOCKET|UND_ERR_RES_CONTENT_LENGTH_MISMATCH)$/, 'the connection was cut', true],
  [
    /^(ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|UND_ERR_HEADERS_TIMEOUT|UND_ERR_BODY_TIMEOUT)$/,
    'nothing came for too long',
    true,
  ],
  [/^UND_ERR_HEADERS_OVERFLOW$/, 'its answer has an endless header; check HF_ENDPOINT and the proxy', false],
  [/^(HPE_|EPROTO|UND_ERR_PRX)/, 'its answer is not HTTP; check HF_ENDPOINT and the proxy', false],
  [
    /(CERT|SELF_SIGNED|ERR_TLS|ERR_SSL|UNABLE_TO_)/,
    'its certificate is not trusted; NODE_EXTRA_CA_CERTS names one that you trust',
    false,
  ],
]

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ('code' in error && typeof error.code === 'string') return error.code
  return codeOf(error.cause)
}
