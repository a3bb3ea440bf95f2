/** Where a worker thread's module is: compiled beside its caller, or as source, as the tests run it. */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/**
 * @param name of the module, without ending, e.g. `./score-worker`
 * @param from `import.meta.url` of the caller
 */
export function workerEntry(name: string, from: string): URL {
  if (!from.endsWith('.ts')) return new URL(`${name}.js`, from)
  // A worker does not inherit the loader of TypeScript.
  const loader = pathToFileURL(createRequire(from).resolve('tsx/esm/api').replace(/cjs$/, 'mjs'))
  const worker = new URL(`${name}.ts`, from)
  const code = `import { register } from ${JSON.stringify(loader)}; register(); await import(${JSON.stringify(worker)})`
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`)
}
