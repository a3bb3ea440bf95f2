/**
 * The only module that loads onnxruntime, with its telemetry switched off.
 *
 * Left to itself onnxruntime 1.30 stores a device id and a database under the user's home, writes a log into the temporary
 * folder and uploads usage events. It reads `ORT_DISABLE_TELEMETRY` with getenv(3) when the first session is made, so the
 * variable has to be in the environment of the process by then.
 */
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import type * as OnnxRuntime from 'onnxruntime-node'

const require = createRequire(import.meta.url)

process.env.ORT_DISABLE_TELEMETRY = '1'
// The process.env of a worker thread is a copy that getenv does not see.
if (!isMainThread && process.platform !== 'win32') {
  const koffi = require('koffi') as typeof import('koffi')
  koffi.load(null).func('int setenv(const char *name, const char *value, int overwrite)')(
    'ORT_DISABLE_TELEMETRY',
    '1',
    1,
  )
}

/** Not an import declaration: those are evaluated before the assignments above. */
export const { InferenceSession, Tensor } = require('onnxruntime-node') as typeof OnnxRuntime
export type InferenceSession = OnnxRuntime.InferenceSession
export type Tensor = OnnxRuntime.Tensor
