/** How quantizing rounds weights: as the reference quantizer does, or with the best scales and codes that a search finds (search/). */
export const quantizeMethods = ['reference', 'search'] as const
export type QuantizeMethod = (typeof quantizeMethods)[number]
