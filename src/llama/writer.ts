/**
 * One text that a model writes: continues after the end of a document or turn, and cuts repetition.
 *
 * A loop is a piece of at most 64 tokens that occurs at least four times in a row, with 24 repeated tokens or more. Small
 * models fall into loops and do not leave them; a window full of one teaches nothing. All repetitions after the first are
 * removed, also from the KV cache if it can remove them, and a new document begins.
 */
import type { Random } from '../random.js'
import type { LlamaModel } from './model.js'

/** A chat template's text between turns, as tokens. */
export interface Turns {
  /** From the end of the user's message to the beginning of the answer. */
  readonly toAssistant: Int32Array
  /** From the end of an answer to the beginning of the user's next message. */
  readonly toUser: Int32Array
  /** A user's turn is ended at this number of tokens. */
  readonly longestUserTurn: number
}

export interface WriterOptions {
  /** Tokens of the whole text. */
  readonly length: number
  /** Set for a conversation whose prompt ends where the user begins to speak. The model writes both sides. */
  readonly turns?: Turns | undefined
  /** Used to cut loops: drops all decoded tokens from a position on; false if that is impossible. Without it loops stay. */
  readonly forget?: (position: number) => boolean
}

const longestPeriod = 64
const leastRepeated = 24

export class Writer {
  readonly tokens: Int32Array
  /** Tokens known. */
  count = 0
  /** Tokens decoded. */
  decoded = 0
  /** Where the document or the turn begins. */
  private start = 0
  private userSpeaks = true
  /** For each period, the number of tokens in a row that equal the token one period before. */
  private readonly repeated = new Int32Array(longestPeriod + 1)

  constructor(
    private readonly model: Pick<LlamaModel, 'bos' | 'eos' | 'isEog'>,
    readonly random: Random,
    beginning: Int32Array,
    private readonly options: WriterOptions,
  ) {
    if (beginning.length === 0) throw new RangeError('a prompt has no token')
    this.tokens = new Int32Array(options.length)
    this.append(beginning)
  }

  get finished(): boolean {
    return this.count === this.tokens.length
  }

  /** Appends the token that the model has drawn, and any text that must follow it. */
  add(token: number): void {
    this.tokens[this.count++] = token
    if (this.finished) return
    const { bos } = this.model
    const { turns, forget } = this.options
    const ends = this.model.isEog(token)
    if (ends && turns) this.endTurn(turns, token)
    else if (ends) this.append(bos === undefined || bos === token ? [] : [bos])
    else if (turns && this.userSpeaks && this.count - this.start >= turns.longestUserTurn) this.endTurn(turns)
    else if (forget) this.cutLoop(forget)
  }

  private append(tokens: ArrayLike<number>): void {
    for (let i = 0; i < tokens.length && !this.finished; i++) this.tokens[this.count++] = tokens[i]
    this.start = this.count
    this.repeated.fill(0)
  }

  /** @param ending the token by which the model ended it; the template's text may begin with the same token */
  private endTurn({ toAssistant, toUser }: Turns, ending?: number): void {
    const between = this.userSpeaks ? toAssistant : toUser
    this.append(between.subarray(between[0] === ending ? 1 : 0))
    this.userSpeaks = !this.userSpeaks
  }

  private cutLoop(forget: (position: number) => boolean): void {
    const { tokens, repeated, start } = this
    const last = this.count - 1
    for (let period = 1; period <= longestPeriod && last - period >= start; period++) {
      repeated[period] = tokens[last] === tokens[last - period] ? repeated[period] + 1 : 0
      if (repeated[period] < Math.max(leastRepeated, 3 * period)) continue
      const count = this.count - repeated[period]
      if (forget(count)) {
        this.count = count
        this.decoded = Math.min(this.decoded, count)
      }
      const { eos, bos } = this.model
      if (this.options.turns) this.endTurn(this.options.turns)
      else this.append([eos, bos === eos ? undefined : bos].filter((token) => token !== undefined))
      return
    }
  }
}
