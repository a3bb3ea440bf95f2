/** The ways to train. */

/** How a run trains after the block-wise start: all weights, only scales and norms, or not at all. */
export type Method = 'distill' | 'scales' | 'blockwise'
export const methods: readonly Method[] = ['distill', 'scales', 'blockwise']

export const isMethod = (value: unknown): value is Method => methods.some((method) => method === value)
