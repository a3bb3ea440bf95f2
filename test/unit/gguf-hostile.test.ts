/** Damaged and malicious files: each is one clear FileError, and none costs memory that its size does not justify. */
import { execFileSync } from 'node:child_process'
import { ftruncateSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FileError } from '../../src/errors.js'
import { openGguf } from '../../src/gguf/index.js'
import { gguf, keyU32, scratchFolder, str, tensor, u32, u64, writeBytes } from './gguf-bytes.js'

const folder = scratchFolder()
const huge = 2n ** 64n - 1n
const key = (...value: Buffer[]) => ({ keys: [Buffer.concat([str('k'), ...value])] })
const array = (itemType: number, count: number | bigint, ...items: Buffer[]) =>
  Buffer.concat([u32(itemType), u64(count), ...items])
const nest = (depth: number): Buffer => (depth === 0 ? array(0, 0) : array(9, 1, nest(depth - 1)))
const one = (shape: (number | bigint)[], type = 0, offset: number | bigint = 0, data = 32) => ({
  tensors: [tensor('t', shape, type, offset)],
  data,
})

const cases: [string, Buffer, string][] = [
  ['empty', Buffer.alloc(0), 'the file is empty'],
  ['two bytes', Buffer.from('GG'), "not a GGUF file (it starts with 'GG')"],
  ['zip', Buffer.from('PK\u0003\u0004 and so on'), "not a GGUF file (it starts with 'PK??')"],
  ['lfs', Buffer.from('version https://git-lfs.github.com/spec/v1\n'), 'Git LFS pointer'],
  ['magic only', Buffer.from('GGUF'), 'the file ends inside its header (at byte 4)'],
  ['version 0', gguf({ version: 0 }), 'GGUF version 0 is unknown'],
  ['version 1', gguf({ version: 1 }), 'GGUF version 1 is no longer in use'],
  ['version 4', gguf({ version: 4 }), 'GGUF version 4 is unknown'],
  ['big-endian', gguf({ version: 0x03000000 }), 'big-endian'],
  ['tensor count', gguf({ tensorCount: huge }), 'tensors, more than it has bytes for'],
  ['negative tensor count', gguf({ tensorCount: 2n ** 63n }), 'tensors, more than it has bytes for'],
  ['key count', gguf({ keyCount: 10n ** 12n }), '1000000000000 metadata keys, more than it has bytes for'],
  [
    'too many keys',
    gguf({ keys: Array.from({ length: 8193 }, (_, i) => keyU32(`k${i}`, i)) }),
    '8193 metadata keys; quench reads files with up to 8192',
  ],
  [
    'too many tensors',
    gguf({ tensorCount: 65537, data: 65537 * 24 }),
    '65537 tensors; quench reads files with up to 65536',
  ],
  [
    'too many strings',
    gguf(key(u32(9), array(8, 2 ** 21 + 1, Buffer.alloc(8 * (2 ** 21 + 1))))),
    "its arrays hold more than 2097152 strings, the last 2097153 in 'k'",
  ],
  ['key length', gguf({ keyCount: 1, keys: [u64(huge), Buffer.alloc(64)] }), 'ends inside its header'],
  ['no key', gguf({ keys: [Buffer.concat([str(''), u32(0), Buffer.of(1)])] }), 'metadata key 0 has no name'],
  ['key twice', gguf({ keys: [keyU32('a', 1), keyU32('a', 1)] }), "key 'a' is there twice"],
  ['value type', gguf(key(u32(13), u64(0))), "'k' has the unknown value type 13"],
  ['item type', gguf(key(u32(9), array(99, 0))), 'unknown value type 99'],
  ['string length', gguf(key(u32(8), u64(2n ** 40n))), 'ends inside its header'],
  ['array count', gguf(key(u32(9), array(12, huge))), "'k' claims 18446744073709552000 items"],
  ['array count by one', gguf(key(u32(9), array(4, 3, u64(0)))), "'k' claims 3 items"],
  ['string array count', gguf(key(u32(9), array(8, 10n ** 9n))), "'k' claims 1000000000 items"],
  ['nested array count', gguf(key(u32(9), array(9, 10n ** 9n))), "'k' claims 1000000000 items"],
  ['nesting', gguf(key(u32(9), nest(20))), "'k' nests too many arrays"],
  ['nested arrays', gguf(key(u32(9), array(9, 70_000, Buffer.alloc(840_000)))), "'k' nests too many arrays"],
  ['alignment 0', gguf({ keys: [keyU32('general.alignment', 0)] }), 'general.alignment is 0'],
  ['alignment 24', gguf({ keys: [keyU32('general.alignment', 24)] }), 'must be a power of two'],
  [
    'alignment huge',
    gguf({ keys: [keyU32('general.alignment', 2 ** 31)] }),
    'general.alignment is 2147483648',
  ],
  [
    'alignment text',
    gguf({ keys: [Buffer.concat([str('general.alignment'), u32(8), str('32')])] }),
    'should be a number',
  ],
  ['five dimensions', gguf(one([1, 1, 1, 1, 1])), "the tensor 't' has 5 dimensions"],
  [
    'dimensions',
    gguf({ tensors: [Buffer.concat([str('t'), u32(2 ** 32 - 1), Buffer.alloc(64)])] }),
    '4294967295 dim',
  ],
  ['no weights', gguf(one([4, 0])), 'has the shape 4 x 0'],
  ['negative size', gguf(one([huge])), 'has the shape 18446744073709552000'],
  ['overflow', gguf(one([2n ** 32n, 2n ** 32n])), 'impossibly large'],
  ['overflow to zero', gguf(one([2n ** 32n, 2n ** 32n, 2n ** 32n, 2n ** 32n])), 'impossibly large'],
  ['type 4', gguf(one([32], 4)), 'has the type 4, which quench does not know'],
  ['type 2^32-1', gguf(one([32], 2 ** 32 - 1)), 'has the type 4294967295'],
  ['row', gguf(one([48], 2)), 'rows of 48, which Q4_0 cannot cut into blocks of 32'],
  ['row, not product', gguf(one([16, 2], 2)), 'rows of 16'],
  ['offset not aligned', gguf(one([1], 0, 4)), 'is not aligned to 32 bytes'],
  ['offset beyond', gguf(one([1], 0, 2 ** 20)), 'ends at byte'],
  ['offset huge', gguf(one([1], 0, huge)), 'ends at byte'],
  ['data short', gguf(one([9], 0, 0, 32)), 'it is truncated; download it again'],
  ['no data', gguf(one([1], 0, 0, 0)), 'it is truncated'],
  [
    'overlap',
    gguf({ tensors: [tensor('a', [16], 0, 0), tensor('b', [8], 0, 32)], data: 64 }),
    "'b' overlaps the tensor 'a'",
  ],
  ['same place', gguf({ tensors: [tensor('a', [1], 0, 0), tensor('b', [1], 0, 0)], data: 32 }), 'overlaps'],
  [
    'name twice',
    gguf({ tensors: [tensor('a', [1], 0, 0), tensor('a', [1], 0, 32)], data: 64 }),
    "'a' is there twice",
  ],
  [
    'name length',
    gguf({ tensors: [Buffer.concat([u64(2n ** 50n), Buffer.alloc(64)])] }),
    'ends inside its header',
  ],
  [
    'split count',
    gguf({ keys: [keyU32('split.count', 2 ** 32 - 1), keyU32('split.no', 0)] }),
    'is not named',
  ],
]

test.each(cases)('%s', async (_, bytes, message) => {
  const path = writeBytes(folder, bytes)
  const error = await openGguf(path).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(FileError)
  expect((error as FileError).message).toContain(`${path}: `)
  expect((error as FileError).message).toContain(message)
})

test('hostile names do not reach the terminal', async () => {
  const name = `\u001b[31m\u202e\n${'x'.repeat(2 ** 21)}`
  const error = await openGguf(writeBytes(folder, gguf({ keys: [keyU32(name, 1), keyU32(name, 1)] }))).catch(
    String,
  )
  expect(error).toContain("'?[31m??xxx")
  expect(String(error).length).toBeLessThan(300)
})

test('what is not a file is said', async () => {
  await expect(openGguf(join(folder, 'absent.gguf'))).rejects.toThrow('absent.gguf: no such file')
  await expect(openGguf(folder)).rejects.toThrow('this is a folder')
  if (process.platform === 'win32') return
  const pipe = join(folder, 'pipe.gguf')
  execFileSync('mkfifo', [pipe])
  await expect(openGguf(pipe)).rejects.toThrow('this is not a regular file')
})

test('a file of 20 GB costs what its header costs', async () => {
  const path = writeBytes(
    folder,
    gguf({ tensors: [tensor('big', [2 ** 20, 5000], 0, 0), tensor('end', [1], 0, 20971520000)] }),
  )
  const fd = openSync(path, 'r+')
  ftruncateSync(fd, 21 * 2 ** 30)
  const before = process.memoryUsage().rss
  const started = process.cpuUsage()
  const file = await openGguf(path)
  const { user, system } = process.cpuUsage(started)
  expect(user + system).toBeLessThan(1e6) // microseconds, however busy the machine is
  expect(await file.read(file.tensor('end'))).toEqual(new Uint8Array(4))
  expect(process.memoryUsage().rss - before).toBeLessThan(50e6)
  await file.close()
})

test('a long string that is not UTF-8 costs a few times its size', async () => {
  const raw = Buffer.alloc(16e6, 0xc2)
  const path = writeBytes(folder, gguf(key(u32(8), str(raw))))
  const before = process.memoryUsage().rss
  const file = await openGguf(path)
  await file.close()
  expect(file.metadata.string('k').length).toBe(raw.length)
  expect(process.memoryUsage().rss - before).toBeLessThan(200e6)
})

test('a header without end is refused', async () => {
  const path = writeBytes(folder, gguf(key(u32(9), array(0, 2n ** 33n))))
  const fd = openSync(path, 'r+')
  ftruncateSync(fd, 2 ** 34)
  await expect(openGguf(path)).rejects.toThrow("'k' claims 8589934592 items")
  writeSync(fd, gguf(key(u32(8), u64(2n ** 33n))), 0, null, 0)
  await expect(openGguf(path)).rejects.toThrow('the header is larger than 128 MiB')
})
