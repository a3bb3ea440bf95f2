import { expect, it } from 'vitest'
import { failureOf } from '../../src/backends/webgpu/failure.js'

it('a tensor that is too large for a buffer names the limit of the device, and what helps', () => {
  for (const message of [
    'WebGPU validation failed. Buffer size (1153433600) exceeds the max buffer size limit (1073741824).\n - While calling [Device].CreateBuffer([BufferDescriptor]).',
    'Program MatMul: input 1 has 1153433600 bytes, exceeding maxStorageBufferBindingSize of 1073741824',
  ])
    expect(failureOf(new Error(message)).message).toBe(
      'a tensor is larger than the 1.1 GB that this GPU takes at once; use a smaller --batch, or --device cpu',
    )
})

it('any other failure is told in one line, and that a run goes on', () => {
  expect(failureOf(new Error('Device is lost.\n  at a place')).message).toBe(
    'the GPU failed (Device is lost.); a run that was interrupted goes on with --resume',
  )
})
