import { releaseAll } from '../cleanup.js'
import type { Program } from './backend.js'

/** Cache of compiled programs, one for each key. */
export class Programs {
  /** Total seconds of compilation. */
  compiling = 0
  private readonly compiled = new Map<string, Promise<Program>>()

  /** @param compile called only for a new key, or one whose compilation failed */
  get(key: string, compile: () => Promise<Program>): Promise<Program> {
    const known = this.compiled.get(key)
    if (known) return known
    const program = this.timed(compile)
    this.compiled.set(key, program)
    program.catch(() => this.compiled.delete(key))
    return program
  }

  private async timed(compile: () => Promise<Program>): Promise<Program> {
    const began = performance.now()
    const program = await compile()
    this.compiling += (performance.now() - began) / 1000
    return program
  }

  /** Frees the program of a key, if there is one; it is recompiled if it is used again. */
  async release(key: string): Promise<void> {
    const program = this.compiled.get(key)
    this.compiled.delete(key)
    await (await program)?.dispose()
  }

  /** Frees all programs; those that are used again are recompiled. */
  async dispose(): Promise<void> {
    const compiled = await Promise.allSettled(this.compiled.values())
    this.compiled.clear()
    await releaseAll(
      compiled.flatMap((each) => (each.status === 'fulfilled' ? [() => each.value.dispose()] : [])),
    )
  }
}
