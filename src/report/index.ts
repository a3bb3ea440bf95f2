/** Results for users: a model card's table, and a page with plots. */
import type { Comparison } from '../compare/comparison.js'

export { modelCard } from './card.js'

/** The HTML page of a comparison. The plotting libraries are loaded on first use. */
export async function reportPage(comparison: Comparison): Promise<string> {
  const page = await import('./page.js')
  return page.reportPage(comparison)
}
