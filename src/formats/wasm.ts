/** WebAssembly kernels that are embedded in the source (scripts/wasm.ts). */

/** The part of the standard WebAssembly API used here, which Node's types do not declare. */
interface Engine {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports?: object) => { readonly exports: unknown }
}
const { WebAssembly: engine } = globalThis as unknown as { WebAssembly: Engine }

/**
 * Instantiates a module and returns its exports.
 * @param imports by the name of their module
 */
export const instantiate = <Exports>(base64: string, imports?: Record<string, object>): Exports =>
  new engine.Instance(new engine.Module(Buffer.from(base64, 'base64')), imports).exports as Exports
