/**
 * Calls that run on another thread, their log output, and native objects that are freed exactly once.
 *
 * koffi runs `fn.async` on Node's thread pool. Two things need care:
 * - A JavaScript log callback is relayed to the main thread, and the caller waits for it. It is therefore set only during a
 *   call whose failure it may have to explain; at all other times the log goes to a native function without effect. (Any
 *   function that ignores its arguments will do, since in 64-bit C ABIs the caller cleans up.)
 * - `process.exit()` frees JavaScript's memory and unloads the library while a thread may still work in it, which crashes.
 *   During such a call, exiting therefore ends the process at once, without that clean-up.
 */
import koffi, { type KoffiFunc } from 'koffi'
import { oneLine } from '../format.js'
import type { Pointer } from './structs.js'

/** A C function: a direct call blocks, `callAsync` does not. */
export type Fn<A extends unknown[], R> = KoffiFunc<(...args: A) => R>

let callsUnderWay = 0

function leaveAtOnce(code: number): void {
  const c = koffi.load(process.platform === 'win32' ? 'ucrtbase.dll' : null)
  c.func('_exit', 'void', ['int'])(code)
}

/** Runs a C function on a thread of the pool. The arguments are kept alive until it returns. */
export function callAsync<A extends unknown[], R>(fn: Fn<A, R>, ...args: A): Promise<R> {
  return new Promise<R>((resolve, reject) => {
    const held = { args }
    // Throws at once for arguments that it cannot pass; no call is in progress then.
    fn.async(...args, (error: unknown, result: R) => {
      held.args.length = 0
      if (--callsUnderWay === 0) process.off('exit', leaveAtOnce)
      if (error) reject(error)
      else resolve(result)
    })
    if (callsUnderWay++ === 0) process.on('exit', leaveAtOnce)
  })
}

const GGML_LOG_LEVEL_INFO = 2
const GGML_LOG_LEVEL_WARN = 3
const GGML_LOG_LEVEL_ERROR = 4
const GGML_LOG_LEVEL_CONT = 5
const LogCallback = koffi.pointer(koffi.proto('void', ['int', 'str', 'void *']))

/** Memory taken by llama.cpp, as read from its log: accurate to 0.01 MiB. */
export interface NativeBuffer {
  /** ggml's buffer name, e.g. `CPU`, `CPU_Mapped` (a mapped file), `CPU_REPACK`, `CUDA0`. */
  readonly device: string
  /** `planned kv` is the size of a cache, over all devices, whether it was allocated or not. */
  readonly use: 'weights' | 'kv' | 'compute' | 'output' | 'planned kv'
  readonly bytes: number
}

/** The library's log: silent except during `during`. */
export class Log {
  private readonly heard: Pointer
  private listeners = 0
  private lines: { level: number; text: string }[] = []
  private buffers: NativeBuffer[] = []
  private readonly tellers = new Set<(text: string) => void>()

  /** @param set `llama_log_set`. @param ignore address of a C function without effect. */
  constructor(
    private readonly set: (callback: Pointer, userData: null) => void,
    private readonly ignore: Pointer,
  ) {
    this.heard = koffi.register((level: number, text: string) => this.hear(level, text), LogCallback)
    set(ignore, null)
  }

  private hear(level: number, text: string): void {
    for (const tell of this.tellers) tell(text)
    const last = this.lines.at(-1)
    if (level === GGML_LOG_LEVEL_INFO) this.buffers.push(...bufferIn(text))
    else if (level === GGML_LOG_LEVEL_CONT && last) last.text += text
    else if (level === GGML_LOG_LEVEL_WARN || level === GGML_LOG_LEVEL_ERROR) {
      this.lines.push({ level, text })
      if (this.lines.length > 50) this.lines.shift()
    }
  }

  /**
   * Runs `call`; also returns a function that yields the library's reason if the call failed, and the memory that it took.
   * Each of several concurrent calls gets the log lines of all.
   * @param tell gets the log, in pieces
   */
  async during<T>(
    call: () => Promise<T>,
    tell: (text: string) => void = () => {},
  ): Promise<{ result: T; reason: () => string; buffers: readonly NativeBuffer[] }> {
    if (this.listeners++ === 0) {
      this.lines = []
      this.buffers = []
      this.set(this.heard, null)
    }
    this.tellers.add(tell)
    try {
      const result = await call()
      const { lines, buffers } = this
      return { result, reason: () => reasonOf(lines), buffers }
    } finally {
      this.tellers.delete(tell)
      if (--this.listeners === 0) this.set(this.ignore, null)
    }
  }
}

const bufferUses = { model: 'weights', KV: 'kv', RS: 'kv', compute: 'compute', output: 'output' } as const

/** `load_tensors:   CPU_Mapped model buffer size =     4.55 MiB` */
function bufferIn(line: string): NativeBuffer[] {
  const [, device, use, mebibytes] =
    /(\S+)\s+(model|KV|RS|compute|output) buffer size =\s*([\d.]+) MiB/.exec(line) ?? []
  if (device === undefined) return plannedIn(line)
  const bytes = bytesOf(mebibytes)
  return bytes > 0 ? [{ device, use: bufferUses[use as keyof typeof bufferUses], bytes }] : []
}

/** `llama_kv_cache: size =    6.00 MiB (   512 cells,   6 layers,  1/1 seqs), K (f16): ...` */
function plannedIn(line: string): NativeBuffer[] {
  const [, mebibytes] = /^llama_kv_cache: size =\s*([\d.]+) MiB \(\s*\d+ cells/.exec(line) ?? []
  return mebibytes === undefined ? [] : [{ device: 'all', use: 'planned kv', bytes: bytesOf(mebibytes) }]
}

const bytesOf = (mebibytes: string): number => Math.round(Number(mebibytes) * 2 ** 20)

/** The last line that says more than that the call failed, without leading names of C functions. */
function reasonOf(lines: readonly { level: number; text: string }[]): string {
  const errors = lines.filter((line) => line.level === GGML_LOG_LEVEL_ERROR)
  const texts = (errors.length > 0 ? errors : lines)
    .map(({ text }) =>
      text
        .trim()
        .replace(/^\w+: /, '')
        .replace(/^(error loading model|failed to quantize): (error loading model \w+: )?/, '')
        .replace(/^([a-z]+_\w+: )+/, ''),
    )
    .filter((text) => /\w/.test(text))
  const reason = texts.findLast((text) => !/^failed to load model\b/.test(text)) ?? texts.at(-1)
  return oneLine(reason ?? 'no reason given')
}

/**
 * A native object, freed once it is disposed of and no longer in use: a call in progress on another thread, or an object made
 * from it, keeps it alive.
 */
export class Handle {
  private holders = 1
  private disposed = false

  /** @param what its name in the error for a use after `dispose`. */
  constructor(
    private readonly address: Pointer,
    private readonly free: (address: Pointer) => void,
    private readonly what: string,
  ) {}

  get pointer(): Pointer {
    if (this.disposed) throw new Error(`${this.what} is used after dispose()`)
    return this.address
  }

  /** Keeps the object alive until `release`. Returns its address. */
  hold(): Pointer {
    const address = this.pointer
    this.holders++
    return address
  }

  release(): void {
    if (--this.holders === 0) this.free(this.address)
  }

  /** Frees the object now or, if it is in use, as soon as it no longer is. A second call does nothing. */
  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.release()
  }
}
