/**
 * Preloaded with `node --import`: from then on onnxruntime-node cannot be found by `require` or `import`, as if it were not installed.
 * Plain JavaScript, since it comes before any loader.
 */
import Module, { register } from 'node:module'

const found = Module._resolveFilename
Module._resolveFilename = function resolve(name, ...others) {
  if (/^onnxruntime-/.test(name))
    throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' })
  return found.call(this, name, ...others)
}

const hooks = `export async function resolve(name, context, next) {
  if (/^onnxruntime-/.test(name))
    throw Object.assign(new Error("Cannot find package '" + name + "'"), { code: 'ERR_MODULE_NOT_FOUND' })
  return next(name, context)
}`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)
