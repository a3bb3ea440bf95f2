/**
 * How the Hub is reached and where its files are kept, by the environment variables and places that Hugging Face's own tools go by.
 * Source: environment_variables.md and constants.py of huggingface_hub.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { UsageError } from '../errors.js'

export interface HubSettings {
  /** Origin of the Hub, with a path in front of its own if a mirror has one; without a slash at the end. */
  readonly endpoint: string
  /** Sent to the endpoint alone. */
  readonly token?: string
  /** No connection is opened. */
  readonly offline: boolean
  /** The folder of `models--ORG--NAME`. */
  readonly cache: string
}

const publicEndpoint = 'https://huggingface.co'
/** Hosts of the public Hub in addresses that people copy. */
export const publicHosts: readonly string[] = ['huggingface.co', 'hf.co', 'www.huggingface.co']

type Environment = Readonly<Record<string, string | undefined>>

/** @throws UsageError for an endpoint that is no address */
export function hubSettings(env: Environment = process.env): HubSettings {
  const home = homeOf(env)
  const token = tokenOf(env, home)
  return {
    endpoint: endpointOf(env.HF_ENDPOINT),
    ...(token !== undefined && { token }),
    offline: isSet(env.HF_HUB_OFFLINE) || isSet(env.TRANSFORMERS_OFFLINE),
    cache: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub'),
  }
}

/** The folder of Hugging Face's tools. */
function homeOf({ HF_HOME: own, XDG_CACHE_HOME: xdg }: Environment): string {
  if (own) return own
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'huggingface')
}

function endpointOf(given: string | undefined): string {
  const text = given || publicEndpoint
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash)
    throw new UsageError(`HF_ENDPOINT is ${text}; it must be an address such as ${publicEndpoint}`)
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

/** Of the variables, or of the file that `hf auth login` writes; what no header can carry is none. */
function tokenOf(env: Environment, home: string): string | undefined {
  const usable = (text: string | undefined): string | undefined => {
    const token = text?.trim()
    return token && /^[\x21-\x7e]{1,1000}$/.test(token) ? token : undefined
  }
  const given = usable(env.HF_TOKEN) ?? usable(env.HUGGING_FACE_HUB_TOKEN)
  if (given !== undefined || isSet(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return given
  try {
    return usable(readFileSync(env.HF_TOKEN_PATH || join(home, 'token'), 'utf8'))
  } catch {
    return undefined // nobody is logged in
  }
}

const isSet = (text: string | undefined): boolean => /^(1|on|yes|true)$/i.test(text ?? '')
