/** Results for people: a model card's table, and a page with pictures. */
import type { Comparison } from '../compare/comparison.js'

export { modelCard } from './card.js'

/** The page of a comparison, HTML. The libraries that draw its pictures are loaded by the first. */
export async function reportPage(comparison: Comparison): Promise<string> {
  const page = await import('./page.js')
  return page.reportPage(comparison)
}
