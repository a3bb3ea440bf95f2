/** The Hub of a file of tests. */
import { afterAll } from 'vitest'
import { type HubServer, openHub } from './hub-server.js'

/** Closed after the tests of a file. */
export async function startHub(): Promise<HubServer> {
  const hub = await openHub()
  afterAll(hub.close)
  return hub
}
