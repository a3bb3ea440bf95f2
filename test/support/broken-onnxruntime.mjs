/** Preloaded with `node --import`: onnxruntime-node is installed but its native library cannot be loaded. */
import Module from 'node:module'

const load = Module._load
Module._load = function loadOther(name, ...others) {
  if (name === 'onnxruntime-node') throw new Error('no such build')
  return load.call(this, name, ...others)
}
