/**
 * Names of `general.file_type` of a GGUF file: the recipe that its tensors were quantized with, as named by llama.cpp.
 * Source: llama_ftype in llama.h of llama.cpp v0.5.0; removed numbers are unknown here too.
 */
export const fileTypes: ReadonlyMap<number, string> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [7, 'Q8_0'],
  [8, 'Q5_0'],
  [9, 'Q5_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K_S'],
  [12, 'Q3_K_M'],
  [13, 'Q3_K_L'],
  [14, 'Q4_K_S'],
  [15, 'Q4_K_M'],
  [16, 'Q5_K_S'],
  [17, 'Q5_K_M'],
  [18, 'Q6_K'],
  [19, 'IQ2_XXS'],
  [20, 'IQ2_XS'],
  [21, 'Q2_K_S'],
  [22, 'IQ3_XS'],
  [23, 'IQ3_XXS'],
  [24, 'IQ1_S'],
  [25, 'IQ4_NL'],
  [26, 'IQ3_S'],
  [27, 'IQ3_M'],
  [28, 'IQ2_S'],
  [29, 'IQ2_M'],
  [30, 'IQ4_XS'],
  [31, 'IQ1_M'],
  [32, 'BF16'],
  [36, 'TQ1_0'],
  [37, 'TQ2_0'],
  [38, 'MXFP4_MOE'],
  [39, 'NVFP4'],
  [40, 'Q1_0'],
  [41, 'Q2_0'],
])

/** Types of files that quench has a recipe for and llama.cpp no number: their files have that of MXFP4_MOE. */
const ownTypes = ['MXFP4']

/** What can be said for a type. */
export const fileTypeNames: readonly string[] = [...fileTypes.values(), ...ownTypes]

/** Aliases accepted by llama-quantize. */
const aliases: ReadonlyMap<string, string> = new Map([
  ['Q3_K', 'Q3_K_M'],
  ['Q4_K', 'Q4_K_M'],
  ['Q5_K', 'Q5_K_M'],
  ['COPY', 'COPY'], // every tensor keeps its type
])

/** The file type named in any case, by an alias of llama-quantize, or by llama.cpp's number; undefined if there is none. */
export function fileTypeNamed(text: string): string | undefined {
  if (/^\d{1,3}$/.test(text)) return fileTypes.get(Number(text))
  const name = text.toUpperCase()
  return aliases.get(name) ?? fileTypeNames.find((type) => type === name)
}

/** The substitute for a type whose blocks do not divide the rows; for IQ types IQ4_NL. */
const fallbacks: Readonly<Record<string, string>> = {
  Q2_0: 'Q4_0',
  Q2_K: 'Q4_0',
  Q3_K: 'Q4_0',
  TQ1_0: 'Q4_0',
  TQ2_0: 'Q4_0',
  Q4_K: 'Q5_0',
  Q5_K: 'Q5_1',
  Q6_K: 'Q8_0',
}

/**
 * Whether a file can be of this recipe: at least one tensor has its main type.
 * @param types of its tensors, ordered by number of weights, the largest first
 */
export function suitsTypes(fileType: string, types: readonly string[]): boolean {
  if (types.length === 0) return true
  if (/^B?F\d+$/.test(fileType)) return types[0] === fileType
  const main = fileType.replace(/_(XS|S|M|L|MOE|XXS)$/, '') // IQ3 stands for IQ3_S and IQ3_XXS
  return types.some((type) => type.startsWith(main) || type === (fallbacks[main] ?? 'IQ4_NL'))
}
