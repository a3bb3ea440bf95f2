/**
 * The only module that loads onnxruntime, on the first use of a program, with its telemetry disabled.
 *
 * By default onnxruntime 1.30 stores a device id and a database in the user's home, writes a log to the temporary folder
 * and uploads usage events. It reads `ORT_DISABLE_TELEMETRY` with getenv(3) when the first session is made, so the
 * variable has to be in the environment of the process by then.
 */
import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import type * as OnnxRuntime from 'onnxruntime-node'
import { QuenchError } from '../errors.js'

const require = createRequire(import.meta.url)
let loaded: typeof OnnxRuntime | undefined

/** @throws QuenchError if it is not installed, or has no build for this machine */
export function onnxruntime(): typeof OnnxRuntime {
  loaded ??= load()
  return loaded
}

/** @throws QuenchError if it is not installed */
export function onnxruntimeVersion(): string {
  try {
    return (require('onnxruntime-node/package.json') as { version: string }).version
  } catch (error) {
    throw new QuenchError(
      'training needs the package onnxruntime-node, which is not installed: npm install onnxruntime-node@1',
      { cause: error },
    )
  }
}

function load(): typeof OnnxRuntime {
  const version = onnxruntimeVersion()
  switchTelemetryOff()
  try {
    return require('onnxruntime-node') as typeof OnnxRuntime
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    throw new QuenchError(
      `training needs onnxruntime-node, of which version ${version} cannot be loaded on ${process.platform}-${process.arch}: ${reason}`,
      { cause: error },
    )
  }
}

function switchTelemetryOff(): void {
  process.env.ORT_DISABLE_TELEMETRY = '1'
  if (isMainThread || process.platform === 'win32') return
  // In a worker thread, process.env is a copy that getenv does not see.
  const koffi = require('koffi') as typeof import('koffi')
  koffi.load(null).func('int setenv(const char *name, const char *value, int overwrite)')(
    'ORT_DISABLE_TELEMETRY',
    '1',
    1,
  )
}
