/** Questions in llama-perplexity's binary form. */
interface Task {
  readonly context: string
  readonly choices: readonly string[]
  readonly right: readonly number[]
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

const text = (of: string): Buffer => Buffer.concat([u32(Buffer.byteLength(of)), Buffer.from(of)])

/** Count, positions, then each question with its choices and labels, and no second list. */
export function binaryChoices(tasks: readonly Task[]): Buffer {
  const bodies = tasks.map(({ context, choices, right }) => {
    const labels = choices.map((_, i) => u32(right.includes(i) ? 1 : 0))
    return Buffer.concat([text(context), u32(choices.length), ...choices.map(text), ...labels, u32(0)])
  })
  let at = 4 + 4 * bodies.length
  const positions = bodies.map((body) => {
    at += body.length
    return u32(at - body.length)
  })
  return Buffer.concat([u32(bodies.length), ...positions, ...bodies])
}
