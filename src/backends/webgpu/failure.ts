/** What is said of a device that fails. */
import { QuenchError } from '../../errors.js'
import { gigabytes } from '../../format.js'

/** The device's largest buffer, or the most of one that a program can take, in bytes: onnxruntime asks for as much as the adapter has. */
const limit = /(?:max buffer size limit \(|maxStorageBufferBindingSize of )(\d+)/

/** @returns an error of one sentence for what onnxruntime throws while a program runs or an array is copied */
export function failureOf(cause: Error): QuenchError {
  const [reason] = cause.message.split('\n')
  const [, most] = limit.exec(cause.message) ?? []
  const sentence =
    most === undefined
      ? `the GPU failed (${reason.trim()}); a run that was interrupted goes on with --resume`
      : `a tensor is larger than the ${gigabytes(Number(most))} that this GPU takes at once; use a smaller --batch, or --device cpu`
  return new QuenchError(sentence, { cause })
}
