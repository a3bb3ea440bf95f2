/** Saved references, the original as a second reference, types of KV cache, and files that cannot be compared. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { type Evaluation, evaluateFiles } from '../../src/evaluate/index.js'
import { SavedReference } from '../../src/evaluate/references/saved-reference.js'
import { rowLayout } from '../../src/evaluate/references/saved-row.js'
import { type GgufValue, openGguf } from '../../src/gguf/index.js'
import { quantizeModel } from '../../src/llama/index.js'
import { writeTinyGguf } from '../support/tiny-gguf.js'
import { withMetadata } from '../support/with-metadata.js'

let folder: string
let reference: string
let original: string
let q8: string
let q4: string
let saved: string
let live: Evaluation
const context = 32
const text = 'the sea and the stone in the rain, and on and on; '.repeat(30)
const setting = { text, context }

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quench-'))
  const path = (name: string) => join(folder, name)
  ;[reference, original, q8, q4, saved] = ['ref.gguf', 'orig.gguf', 'q8.gguf', 'q4.gguf', 'ref.saved'].map(
    path,
  )
  await writeTinyGguf(reference)
  await writeTinyGguf(original, { seed: 2 })
  await quantizeModel(reference, q8, { type: 'Q8_0' })
  await quantizeModel(reference, q4, { type: 'Q4_0' })
  live = await evaluateFiles({ reference, files: [q8, q4], ...setting, saveReference: saved })
})
afterAll(() => rm(folder, { recursive: true }))

test('a saved reference: the figures within the stated bound, in a fiftieth of the bytes', async () => {
  const again = await evaluateFiles({ reference: saved, files: [q8, q4], ...setting })
  expect(again.reference).toMatchObject({ path: saved, type: 'F32', saved: true })
  expect(again.reference.perplexity.mean).toBeCloseTo(live.reference.perplexity.mean, 3)
  for (const [i, file] of again.files.entries()) {
    const exact = live.files[i]
    expect(file.perplexity).toEqual(exact.perplexity)
    expect(exact.kld.errorBound).toBeUndefined()
    const bound = file.kld.errorBound ?? 0
    expect(Math.abs(file.kld.mean - exact.kld.mean)).toBeLessThan(bound)
    expect(file.perplexityRatio.mean).toBeCloseTo(exact.perplexityRatio.mean, 6)
    expect(file.rmsProbabilityChange.mean).toBeCloseTo(exact.rmsProbabilityChange.mean, 6)
    expect(file.top1).toEqual(exact.top1)
  }
  const { size } = { size: (await readFile(saved)).length }
  const { rowBytes } = rowLayout(271)
  expect(size).toBeLessThan(live.tokens * rowBytes + 1000)
})

test('a saved reference is refused for anything else', async () => {
  const run = (more: object) => evaluateFiles({ reference: saved, files: [q4], ...setting, ...more })
  await expect(run({ text: text.replace('sea', 'tea') })).rejects.toThrow(/saved for another text/)
  await expect(run({ context: 64 })).rejects.toThrow(/saved with --context 32, not 64/)
  await expect(run({ maxTokens: 100 })).rejects.toThrow(/windows of text, not 3/)
  await expect(run({ original })).rejects.toThrow(/neither --original nor --save-reference/)
  const copy = join(folder, 'copy.gguf')
  await writeFile(copy, await readFile(reference))
  const other = join(folder, 'other.saved')
  await evaluateFiles({ reference: copy, files: [q4], ...setting, saveReference: other })
  await rm(copy)
  await expect(run({ reference: other })).resolves.toBeDefined() // the model need not be there
  await writeFile(copy, await readFile(original))
  await expect(run({ reference: other })).rejects.toThrow(/copy\.gguf has changed since/)
})

test('a damaged or hostile saved reference is one clear error', async () => {
  const whole = await readFile(saved)
  const damaged = join(folder, 'damaged.saved')
  const open = async (bytes: Uint8Array): Promise<unknown> => {
    await writeFile(damaged, bytes)
    const opened = await SavedReference.open(damaged)
    await opened.close()
    return opened
  }
  await expect(open(whole)).resolves.toBeDefined()
  await fc.assert(
    fc.asyncProperty(
      fc.nat(whole.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (at, change, cut) => {
        const bytes = Uint8Array.from(cut ? whole.subarray(0, at) : whole)
        if (!cut) bytes[at] ^= change
        await expect(open(bytes)).rejects.toThrow(
          /^.*damaged\.saved: (this is not|its header|it has|it is damaged)/,
        )
      },
    ),
    { numRuns: 60 },
  )
  const header = Buffer.from(JSON.stringify({ version: 1, rows: 1e12 }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(header.length)
  await expect(open(Buffer.concat([Buffer.from('QUENCHRF'), length, header]))).rejects.toThrow(/its header/)
})

describe('with a hash that is right, so that only what it says can be wrong', () => {
  /** The saved reference with another header and other rows. */
  async function forge(
    header: (of: Record<string, unknown> & { model: object }) => unknown,
    rows: (of: Buffer) => Uint8Array = (of) => of,
  ): Promise<string> {
    const whole = await readFile(saved)
    const start = 12 + whole.readUInt32LE(8)
    const json = Buffer.from(JSON.stringify(header(JSON.parse(whole.toString('utf8', 12, start)))))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(json.length)
    const body = Buffer.concat([whole.subarray(0, 8), length, json, rows(whole.subarray(start, -32))])
    const path = join(folder, 'forged.saved')
    await writeFile(path, Buffer.concat([body, createHash('sha256').update(body).digest()]))
    return path
  }
  const evaluate = (path: string) => evaluateFiles({ reference: path, files: [q4], ...setting })
  const openClosed = async (path: string): Promise<SavedReference> => {
    const opened = await SavedReference.open(path)
    await opened.close()
    return opened
  }

  test('rows that cannot have been saved are refused', async () => {
    const fill = (byte: number) =>
      forge(
        (header) => header,
        (rows) => new Uint8Array(rows.length).fill(byte),
      )
    await expect(evaluate(await fill(0xff))).rejects.toThrow(
      /forged\.saved: it is damaged: a prediction in it is none that can have been saved/,
    )
  })

  test('whatever it names as its model is not read unless it is one, nor waited for', async () => {
    execFileSync('mkfifo', [join(folder, 'pipe')])
    const up = '../'.repeat(20)
    for (const path of ['pipe', '.', 'missing', `${up}dev/zero`, `${up}proc/self/mem`, `${up}etc/hostname`]) {
      const opened = await openClosed(
        await forge((header) => ({ ...header, model: { ...header.model, path } })),
      )
      expect(opened.header.model.path).toBe(path)
    }
  })

  test('what it says of its model is a number or a short name', async () => {
    for (const [key, value] of [
      ['type', '\x1b[2Jx'],
      ['type', 'x\nquench: all is well'],
      ['type', 'x'.repeat(1000)],
      ['path', ''],
      ['path', 'a\0b'],
      ['sha256', 'x'],
      ['bytes', -1],
      ['bytes', 1e300],
      ['bitsPerWeight', null],
      ['bitsPerWeight', 1e9],
    ] as const)
      await expect(
        openClosed(await forge((header) => ({ ...header, model: { ...header.model, [key]: value } }))),
      ).rejects.toThrow(/its header is damaged/)
  })

  test('counts that are not those of its bytes are refused before anything is made of them', async () => {
    for (const change of [{ rows: 2 ** 40 }, { vocabulary: 2 ** 24 }, { rows: 1 }])
      await expect(openClosed(await forge((header) => ({ ...header, ...change })))).rejects.toThrow(
        /it has \d+ bytes and not the \d+ that its header says/,
      )
    for (const change of [{ rows: 2 ** 41 }, { vocabulary: 2 ** 30 }, { windows: 0 }, { context: 1.5 }])
      await expect(openClosed(await forge((header) => ({ ...header, ...change })))).rejects.toThrow(
        /its header is damaged/,
      )
  })

  test('any change gives figures or one clear error', async () => {
    const values = fc.oneof(fc.jsonValue(), fc.integer(), fc.constantFrom('../x', 2 ** 53, -1, null))
    const keys = ['version', 'model', 'tokenizer', 'vocabulary', 'text', 'context', 'windows', 'rows']
    await fc.assert(
      fc.asyncProperty(
        fc.option(fc.tuple(fc.constantFrom(...keys), values)),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        async (change, flips) => {
          const path = await forge(
            (header) => (change ? { ...header, [change[0]]: change[1] } : header),
            (rows) => {
              const bytes = Uint8Array.from(rows)
              for (const [at, byte] of flips) bytes[at % bytes.length] = byte
              return bytes
            },
          )
          const error = await openClosed(path).then(
            () => undefined,
            (e: unknown) => e,
          )
          if (error !== undefined) expect(error).toBeInstanceOf(FileError)
        },
      ),
      { numRuns: 150 },
    )
  })
})

test('nothing is left of a reference when the evaluation fails', async () => {
  const before = await readdir(folder)
  const stopped = { reference, files: [q4], ...setting, saveReference: join(folder, 'never.saved') }
  await expect(evaluateFiles({ ...stopped, signal: AbortSignal.abort() })).rejects.toThrow(/abort/)
  expect(await readdir(folder)).toEqual(before)
})

test('two references: the loss of the conversion and that of the method', async () => {
  const both = await evaluateFiles({ reference, original, files: [q4, original], ...setting })
  const fromOriginal = await evaluateFiles({ reference: original, files: [q4, reference], ...setting })
  expect(both.files[0].kld).toEqual(live.files[1].kld)
  expect(both.files[0].original?.kld).toEqual(fromOriginal.files[0].kld)
  expect(both.reference.original?.kld).toEqual(fromOriginal.files[1].kld)
  expect(both.files[1].original?.kld.mean).toBe(0)
  expect(both.original?.perplexity).toEqual(fromOriginal.reference.perplexity)
})

test('types of KV cache are extra rows', async () => {
  const wide = join(folder, 'wide.gguf') // heads of 32: a whole block
  await writeTinyGguf(wide, { heads: 2, headsKV: 1 })
  const run = (kvTypes: string[]) => evaluateFiles({ reference: wide, files: [wide], ...setting, kvTypes })
  const { files } = await run(['f16', 'q8_0'])
  expect(files.map(({ kvType }) => kvType)).toEqual(['f16', 'q8_0'])
  expect(files[0].kld.mean).toBe(0)
  expect(files[1].kld.mean).toBeGreaterThan(0)
  await expect(evaluateFiles({ reference, files: [q8], ...setting, kvTypes: ['q8_0'] })).rejects.toThrow(
    /q8\.gguf: llama\.cpp cannot make a context.*block size 32/,
  )
})

test('where the loss sits adds up', async () => {
  const documents = [
    { name: 'one', text },
    { name: 'two', text: text.toUpperCase() },
  ]
  const { files, tokens } = await evaluateFiles({ reference, files: [q4], text: documents, context })
  const [{ byDocument, byConfidence, kld, windowSums }] = files
  expect(byDocument.map(({ name }) => name)).toEqual(['one', 'two'])
  for (const groups of [byDocument, byConfidence]) {
    expect(groups.reduce((sum, group) => sum + group.tokens, 0)).toBe(tokens)
    expect(groups.reduce((sum, group) => sum + group.tokens * group.kld, 0) / tokens).toBeCloseTo(
      kld.mean,
      10,
    )
  }
  expect(byConfidence.reduce((sum, bin) => sum + bin.shareOfKld, 0)).toBeCloseTo(1, 10)
  expect(windowSums.tokens.every((count) => count === context / 2 - 1)).toBe(true)
})

test('another tokenizer is refused, by what differs', async () => {
  const value = (type: string, of: unknown) => ({ type, value: of }) as GgufValue
  const merges = await openGguf(reference).then(async (gguf) => {
    await gguf.close()
    return gguf.metadata.strings('tokenizer.ggml.merges')
  })
  const reversed = { type: 'array', itemType: 'string', value: merges.toReversed() } as GgufValue
  for (const [key, change, problem] of [
    ['pre', value('string', 'llama-bpe'), /tokenizer\.ggml\.pre is llama-bpe, not the gpt-2/],
    ['bos_token_id', value('uint32', 3), /tokenizer\.ggml\.bos_token_id is 3, not the 270/],
    ['add_bos_token', value('bool', false), /tokenizer\.ggml\.add_bos_token is false, not the true/],
    ['merges', reversed, /merge 0 of its tokenizer is not that/],
  ] as const) {
    const other = join(folder, `${key}.gguf`)
    await withMetadata(reference, other, { [`tokenizer.ggml.${key}`]: change })
    await expect(evaluateFiles({ reference, files: [other], ...setting })).rejects.toThrow(problem)
  }
})
