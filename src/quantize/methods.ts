/** Methods of rounding weights: the reference quantizer, or a search for the best scales and codes (search/). */
export const quantizeMethods = ['reference', 'search'] as const
export type QuantizeMethod = (typeof quantizeMethods)[number]
