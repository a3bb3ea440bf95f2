/**
 * Training methods. Each begins with the block-wise stage; an entry gives the end-to-end training after it, if any, and its cost in
 * memory. A new method is an entry here. The one that trains most comes first.
 */

/** End-to-end training. Bytes are per weight that trains. */
export interface Training {
  /** In memory: latents, weights, gradients, Adam's moments, and those of scales and norms. */
  readonly weightBytes: number
  /** The same with Adam's moments on disk; absent if that is not supported. */
  readonly weightBytesOnDisk?: number
  /** In a checkpoint. */
  readonly checkpointBytes: number
  /** Codes stay as the block-wise stage left them, and only scales and norms train. */
  readonly freezesCodes: boolean
}

interface Entry {
  readonly name: string
  readonly help: string
  readonly training?: Training
}

const table = [
  {
    name: 'distill',
    help: 'all weights',
    training: { weightBytes: 24, weightBytesOnDisk: 16, checkpointBytes: 14.4, freezesCodes: false },
  },
  {
    name: 'scales',
    help: 'scales and norms only',
    training: { weightBytes: 17, checkpointBytes: 7.3, freezesCodes: true },
  },
  { name: 'blockwise', help: 'nothing after the block-wise stage' },
] as const satisfies readonly Entry[]

export type Method = (typeof table)[number]['name']

export const methods: readonly Method[] = table.map(({ name }) => name)

/** The stage that every method begins with, and the method that has no other. */
export const blockwise = 'blockwise' satisfies Method

/** The training after the block-wise stage; undefined if there is none. */
export function trainingOf(method: Method): Training | undefined {
  const entry: Entry | undefined = table.find(({ name }) => name === method)
  return entry?.training
}

/** `distill: all weights; ...`, for help. */
export const methodsHelp: string = table.map(({ name, help }) => `${name}: ${help}`).join('; ')

export const isMethod = (value: unknown): value is Method => methods.some((method) => method === value)
