/** What the answers of the Hub say: redirects, pauses, JSON. */
import type { Dispatcher } from 'undici'
import { HubError } from './errors.js'

export type Answer = Pick<Dispatcher.ResponseData, 'statusCode' | 'headers' | 'body'>

const mostDrained = 2 ** 16

export function redirected(about: string, from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  const safe = to && (to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:'))
  if (!safe) throw new HubError(about, 'the Hub redirects to an address that is not safe; check HF_ENDPOINT')
  return to
}

/** Seconds that `Retry-After` asks for, as a number or as a date. */
export function pauseOf(headers: Answer['headers']): number | undefined {
  const text = headers['retry-after']
  if (typeof text !== 'string') return undefined
  if (/^\d{1,9}$/.test(text.trim())) return Number(text)
  const until = Date.parse(text)
  return Number.isNaN(until) ? undefined : Math.max(0, (until - Date.now()) / 1000)
}

export function parsed(about: string, bytes: Buffer): unknown {
  const text = bytes.toString('utf8')
  try {
    return JSON.parse(text)
  } catch {
    const what = /^\s*</.test(text) ? 'a web page' : 'something'
    throw new HubError(
      about,
      `${what} came instead of the Hub's answer; check HF_ENDPOINT, the proxy, and whether the network wants a login`,
    )
  }
}

export async function drained(body: Answer['body']): Promise<void> {
  await body.dump({ limit: mostDrained }).catch(() => {})
}
