/**
 * Serializes ONNX models: the few messages of the ONNX specification that programs need, with its field numbers
 * (onnx.proto, IR version 8), in the wire format of Protocol Buffers. A missing field has its default value.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

/** AttributeProto: an array of integers, an integer given as bigint, a float, or a string. */
export type Attribute = readonly number[] | bigint | number | string

/** NodeProto: an op of a domain, and the names of its inputs and outputs. */
export interface Node {
  readonly type: string
  readonly domain: string
  readonly attributes: Readonly<Record<string, Attribute>>
  inputs: readonly string[]
  outputs: readonly string[]
}

/** TensorProto: a value that is part of the model. */
export interface Initializer {
  readonly name: string
  readonly shape: readonly number[]
  readonly values: Float32Array | Int32Array | BigInt64Array
}

/** ValueInfoProto with the type of a tensor: an input or output of a model. */
export interface Value {
  readonly name: string
  readonly elementType: number
  /** A length that differs from run to run is a name. */
  readonly shape: readonly (number | string)[]
}

/** ModelProto and its one GraphProto. */
export interface Model {
  readonly name: string
  /** Version of each domain's ops. */
  readonly opsets: Readonly<Record<string, number>>
  readonly nodes: readonly Node[]
  readonly initializers: readonly Initializer[]
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
}

/** TensorProto.DataType */
export const elementTypes = { float32: 1, int32: 6, int64: 7, bool: 9 }
/** AttributeProto.AttributeType */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 }
const irVersion = 8

/** Bytes in pieces, so that a large tensor is copied only once, when all pieces are joined. */
type Pieces = readonly Uint8Array[]

/** The model, serialized. */
export function encodeModel({ name, opsets, nodes, initializers, inputs, outputs }: Model): Uint8Array {
  const body = new BinaryWriter()
  for (const node of nodes) message(body, 1, () => writeNode(body, node))
  text(body, 2, name)
  const values = new BinaryWriter()
  for (const value of inputs) message(values, 11, () => writeValue(values, value))
  for (const value of outputs) message(values, 12, () => writeValue(values, value))
  const constants = initializers.flatMap((initializer) => nested(5, tensor(initializer)))

  const head = new BinaryWriter()
  integer(head, 1, irVersion)
  text(head, 2, name)
  for (const [domain, version] of Object.entries(opsets))
    message(head, 8, () => {
      text(head, 1, domain)
      integer(head, 2, version)
    })
  return Buffer.concat([head.finish(), ...nested(7, [body.finish(), ...constants, values.finish()])])
}

function writeNode(to: BinaryWriter, { type, domain, attributes, inputs, outputs }: Node): void {
  for (const name of inputs) text(to, 1, name)
  for (const name of outputs) text(to, 2, name)
  text(to, 4, type)
  for (const [name, value] of Object.entries(attributes))
    message(to, 5, () => {
      text(to, 1, name)
      writeAttribute(to, value)
    })
  text(to, 7, domain)
}

function writeAttribute(to: BinaryWriter, value: Attribute): void {
  const type = (number: number): BinaryWriter => integer(to, 20, number)
  if (typeof value === 'number') type(attributeTypes.float).tag(2, WireType.Bit32).float(value)
  else if (typeof value === 'bigint') integer(type(attributeTypes.int), 3, value)
  else if (typeof value === 'string') text(type(attributeTypes.string), 4, value)
  else {
    type(attributeTypes.ints)
    for (const each of value) integer(to, 8, each)
  }
}

function writeValue(to: BinaryWriter, { name, elementType, shape }: Value): void {
  const dimensions = () => {
    for (const size of shape)
      message(to, 1, () => (typeof size === 'string' ? text(to, 2, size) : integer(to, 1, size)))
  }
  const tensorType = () => {
    integer(to, 1, elementType)
    message(to, 2, dimensions)
  }
  text(to, 1, name)
  message(to, 2, () => message(to, 1, tensorType))
}

function tensor({ name, shape, values }: Initializer): Pieces {
  const head = new BinaryWriter()
  for (const size of shape) integer(head, 1, size)
  integer(head, 2, elementTypeOf(values))
  text(head, 8, name)
  return [head.finish(), ...nested(9, [new Uint8Array(values.buffer, values.byteOffset, values.byteLength)])]
}

function elementTypeOf(values: Initializer['values']): number {
  if (values instanceof Float32Array) return elementTypes.float32
  return values instanceof Int32Array ? elementTypes.int32 : elementTypes.int64
}

/** All integers written here have the same encoding as int32, int64 and enum. */
const integer = (to: BinaryWriter, field: number, value: number | bigint): BinaryWriter =>
  to.tag(field, WireType.Varint).int64(value)

const text = (to: BinaryWriter, field: number, value: string): BinaryWriter =>
  to.tag(field, WireType.LengthDelimited).string(value)

function message(to: BinaryWriter, field: number, write: () => void): void {
  to.tag(field, WireType.LengthDelimited).fork()
  write()
  to.join()
}

/** A length-delimited field with the given content. */
function nested(field: number, content: Pieces): Pieces {
  const length = content.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return [new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish(), ...content]
}
