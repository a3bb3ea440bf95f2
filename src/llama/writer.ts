/**
 * One text as a model writes it: what follows the end of a document or of a turn, and what is done when the model begins to
 * repeat itself.
 *
 * A loop is a piece of at most 64 tokens that comes at least four times in a row, 24 tokens or more of repetition. Small models
 * fall into loops and do not leave them; a window full of one teaches nothing. All but the first round of it is taken
 * back, also from the cache of keys and values where that can forget, and a new document begins.
 */
import type { Random } from '../random.js'
import type { LlamaModel } from './model.js'

/** What a chat template puts between turns, as tokens. */
export interface Turns {
  /** From the end of what the user says to the beginning of the answer. */
  readonly toAssistant: Int32Array
  /** From the end of an answer to the beginning of what the user says next. */
  readonly toUser: Int32Array
  /** A user's turn that has as many tokens is ended. */
  readonly longestUserTurn: number
}

export interface WriterOptions {
  /** Tokens of the whole text. */
  readonly length: number
  /** It is a conversation, and the beginning ends where the user begins to speak. Both sides are written by the model. */
  readonly turns?: Turns | undefined
  /** To cut loops: drops all decoded tokens from a position on; false if that cannot be done. Without it loops stay. */
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
  /** For each period, how many tokens in a row are those of one period before. */
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

  /** Takes the token that the model has drawn, and what has to follow it. */
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

  /** @param ending the token by which the model ended it, with which the template's own text may begin */
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
