/**
 * Types whose matrices llama.cpp's CPU backend keeps in another order, beside the mapped file: they take memory twice.
 * Source: ggml_repack_get_optimal_repack_type in ggml-cpu/repack.cpp, ggml-cpu/amx of llama.cpp v0.5.0.
 */
const sets: readonly (readonly [instruction: string, types: readonly string[]])[] = [
  ['AVX2', ['Q4_0', 'Q4_K', 'IQ4_NL', 'MXFP4']],
  ['AVX512', ['Q2_K']],
  ['AMX_INT8', ['Q4_0', 'Q4_1', 'Q8_0', 'Q4_K', 'Q5_K', 'Q6_K', 'IQ4_XS']],
  ['DOTPROD', ['Q4_0', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_0', 'IQ4_NL', 'MXFP4', 'Q1_0']],
]

/** Names of the types that a processor with these instruction sets repacks. */
export const repackedTypes = (instructions: readonly string[]): string[] => [
  ...new Set(sets.flatMap(([instruction, types]) => (instructions.includes(instruction) ? types : []))),
]
