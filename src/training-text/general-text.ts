/**
 * The texts that ship with quench, as windows of a model's tokens: five kinds of text, so that neither calibration nor validation is
 * limited to one kind.
 */
import { windowsOfKinds } from '../data/kinds.js'
import { shippedFolder } from '../data/shipped-texts.js'
import { spread } from '../data/windows.js'
import type { LlamaModel } from '../llama/index.js'
import type { KindWindows } from '../validation/validation.js'

/** All windows of a set, by kind. @param onWarning see `windowsOfKinds` */
export async function generalWindows(
  set: 'calibration' | 'validation',
  path: string,
  model: LlamaModel,
  length: number,
  onWarning?: (warning: string) => void,
): Promise<KindWindows[]> {
  const kinds = await windowsOfKinds(path, model, shippedFolder(set), length, onWarning)
  return Array.from(kinds, ([kind, windows]) => ({ kind, windows }))
}

/** Up to `count` windows of each kind, evenly spread over it. */
export const ofEachKind = (text: readonly KindWindows[], count: number): KindWindows[] =>
  text.map(({ kind, windows }) => ({ kind, windows: spread(windows, count) }))

/** Splits the windows of each kind into `count` evenly spread ones and the rest. */
export function splitKinds(
  text: readonly KindWindows[],
  count: number,
): { taken: KindWindows[]; rest: KindWindows[] } {
  const taken = ofEachKind(text, count)
  const rest = text.map(({ kind, windows }, k) => {
    const chosen = new Set(taken[k].windows)
    return { kind, windows: windows.filter((window) => !chosen.has(window)) }
  })
  return { taken, rest }
}

/** At most `count` windows, in equal numbers of each kind as far as possible, interleaved. */
export function inTurns(text: readonly KindWindows[], count: number): Int32Array[] {
  const longest = Math.max(0, ...text.map(({ windows }) => windows.length))
  const counts = text.map(() => 0)
  let left = Math.min(
    count,
    text.reduce((sum, { windows }) => sum + windows.length, 0),
  )
  for (let round = 0; round < longest && left > 0; round++)
    for (const [k, { windows }] of text.entries())
      if (counts[k] < windows.length && left > 0) {
        counts[k]++
        left--
      }
  const chosen = text.map(({ windows }, k) => spread(windows, counts[k]))
  return Array.from({ length: longest }, (_, i) => chosen.flatMap((windows) => windows[i] ?? [])).flat()
}
