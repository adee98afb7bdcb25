/** @file The part of the WebAssembly API that the kernels use: neither lib.es nor the Node types declare it. */

/** A compiled module; opaque. */
export type WasmModule = { readonly opaque: unique symbol };

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** Adds pages of 64 KiB. */
  grow(pages: number): number;
}

interface WebAssemblyApi {
  validate(bytes: Uint8Array): boolean;
  compile(bytes: Uint8Array): Promise<WasmModule>;
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Memory: new (limits: { initial: number }) => WasmMemory;
  readonly Instance: new (module: WasmModule, imports: { env: { memory: WasmMemory } }) => { readonly exports: object };
}

/** The engine's WebAssembly, if it has one. */
export const webAssembly = (globalThis as { WebAssembly?: unknown }).WebAssembly as WebAssemblyApi | undefined;
