/** Kernels of WebAssembly that are part of the source (scripts/wasm.ts). */

/** The part that is used here of what every JavaScript engine has and Node's types do not name. */
interface Engine {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}
const { WebAssembly: engine } = globalThis as unknown as { WebAssembly: Engine }

/** What a module exports, of an instance of its own. */
export const instantiate = <Exports>(base64: string): Exports =>
  new engine.Instance(new engine.Module(Buffer.from(base64, 'base64'))).exports as Exports
