/**
 * Buffers on the device. A tensor there never changes, so what a buffer holds is a list of pieces: tensors, parts of them, or one number
 * repeated. Copying or overwriting a part replaces pieces and moves no data; pieces are joined when a program reads across them.
 */
import { concat, expand, input, type ProgramGraph, slice } from '../../graph/index.js'
import type { Device, DeviceTensor } from './device.js'

interface Piece {
  readonly length: number
  /** A number stands for as many of it as the piece is long. */
  readonly value: DeviceTensor | number
  /** Where the piece begins in its tensor. */
  readonly offset: number
}

/** Most tensors that are joined by one program: devices bind about eight buffers at once. */
const joinedAtOnce = 6

export class Storage {
  private pieces: readonly Piece[]

  constructor(
    private readonly device: Device,
    readonly length: number,
  ) {
    this.pieces = [{ length, value: 0, offset: 0 }]
  }

  release(): void {
    for (const { value } of this.pieces) if (typeof value !== 'number') value.release()
    this.pieces = []
  }

  /** The number that all values from `start` to `end` are, if the buffer knows of one. */
  constantIn(start: number, end: number): number | undefined {
    const [{ value }, ...others] = this.part(start, end)
    return typeof value === 'number' && others.length === 0 ? value : undefined
  }

  /** The values from `start` to `end`, exclusive, for the caller to release. */
  async read(start: number, end: number): Promise<DeviceTensor> {
    const parts = this.part(start, end)
    const [{ value, length }] = parts
    if (parts.length === 1 && typeof value !== 'number' && value.length === length) return value.hold()
    const made = await join(this.device, parts)
    if (end - start === this.length) this.write(start, made.hold())
    return made
  }

  /** Overwrites the values from `start` on; the buffer holds the tensor from then on. */
  write(start: number, value: DeviceTensor): void {
    this.replace(start, [{ length: value.length, value, offset: 0 }])
  }

  fill(start: number, end: number, value: number): void {
    this.replace(start, [{ length: end - start, value, offset: 0 }])
  }

  /** Overwrites values from `start` on by those of another buffer. */
  copy(start: number, from: Storage, fromStart: number, fromEnd: number): void {
    const parts = from.part(fromStart, fromEnd)
    for (const { value } of parts) if (typeof value !== 'number') value.hold()
    this.replace(start, parts)
  }

  private replace(start: number, by: readonly Piece[]): void {
    const end = start + by.reduce((sum, { length }) => sum + length, 0)
    const before = this.pieces
    this.pieces = [...this.part(0, start), ...by, ...this.part(end, this.length)]
    for (const { value } of this.pieces) if (typeof value !== 'number') value.hold()
    for (const { value } of [...before, ...by]) if (typeof value !== 'number') value.release()
  }

  private part(start: number, end: number): Piece[] {
    const parts: Piece[] = []
    let at = 0
    for (const { length, value, offset } of this.pieces) {
      const [from, to] = [Math.max(start, at), Math.min(end, at + length)]
      if (from < to) parts.push({ length: to - from, value, offset: offset + from - at })
      at += length
    }
    return parts
  }
}

/** Pieces as one tensor. */
async function join(device: Device, pieces: readonly Piece[]): Promise<DeviceTensor> {
  if (pieces.length <= joinedAtOnce) return joinFew(device, pieces)
  const made: Piece[] = []
  for (let i = 0; i < pieces.length; i += joinedAtOnce) {
    const value = await joinFew(device, pieces.slice(i, i + joinedAtOnce))
    made.push({ length: value.length, value, offset: 0 })
  }
  const all = await join(device, made)
  for (const { value } of made) if (typeof value !== 'number') value.release()
  return all
}

async function joinFew(device: Device, pieces: readonly Piece[]): Promise<DeviceTensor> {
  const inputs: Record<string, DeviceTensor> = {}
  for (const [i, { value }] of pieces.entries())
    inputs[`x${i}`] = typeof value === 'number' ? await device.scalar(value) : value
  const key = pieces.map(({ length, value, offset }) =>
    typeof value === 'number' ? `${length}` : `${value.dtype} ${value.length} ${offset} ${length}`,
  )
  return (await device.apply(`join ${key}`, () => joinGraph(pieces), inputs)).y
}

function joinGraph(pieces: readonly Piece[]): ProgramGraph {
  const inputs = pieces.map(({ value }) =>
    typeof value === 'number' ? input([1]) : input([value.length], value.dtype),
  )
  const parts = pieces.map(({ length, offset }, i) =>
    inputs[i].size === length
      ? inputs[i]
      : typeof pieces[i].value === 'number'
        ? expand(inputs[i], [length])
        : slice(inputs[i], 0, offset, offset + length),
  )
  return {
    inputs: Object.fromEntries(inputs.map((x, i) => [`x${i}`, x])),
    outputs: { y: concat(parts, 0) },
  }
}
