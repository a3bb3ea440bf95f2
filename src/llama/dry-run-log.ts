/**
 * What a dry run of `llama_model_quantize` says of every tensor. The library has no function that gives the types, and its log
 * does, in lines of this form (src/llama-quant.cpp of llama.cpp v0.5.0):
 *
 *   warning: blk.0.ffn_down.weight - ncols    160 not divisible by 256 (required for type    q4_K) -> falling back to    q5_0
 *   [   3/  21] blk.0.ffn_down.weight - [  160,    64,     1,     1], type =    f16, size =     0.02 MiB ->     0.01 MiB (q5_0)
 *
 * A tensor that keeps its type has no arrow. The lines come in pieces, cut where the library's own calls are.
 */
import { ggmlTypeId } from './ggml.js'
import type { PlannedTensor } from './native-work.js'

export class DryRunLog {
  /** In the order in which they would be written. */
  readonly tensors: PlannedTensor[] = []
  private readonly wanted = new Map<string, number>()
  private current: { name: string; type: string } | undefined

  hear(text: string): void {
    const [, refused, wanted] =
      /^warning: (.*) - ncols +\d+ not divisible by +\d+ \(required for type +(\w+)\) $/s.exec(text) ?? []
    if (refused !== undefined) this.wanted.set(refused.trimEnd(), ggmlTypeId(wanted))
    const [, name, type] = /^\[ *\d+\/ *\d+\] (.*) - \[[ \d,]+\], type = +(\w+), $/s.exec(text) ?? []
    if (name !== undefined) this.current = { name: name.trimEnd(), type }
    const [size, to] = /^size = .*?MiB(?: -> .*MiB \((\w+)\))?\n$/.exec(text) ?? []
    if (size === undefined || this.current === undefined) return
    const first = this.wanted.get(this.current.name)
    this.tensors.push({
      name: this.current.name,
      type: ggmlTypeId(to ?? this.current.type),
      ...(first !== undefined && { wanted: first }),
    })
    this.current = undefined
  }
}
