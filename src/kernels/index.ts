/** @file The kernels of this process: the wasm module where SIMD is there, the reference elsewhere. */
import { messageOf, TersorError } from "../util/errors.ts";
import { Arena, plainMemory, wasmMemory } from "./arena.ts";
import { Kernels } from "./kernels.ts";
import { wasmBase64 } from "./kernels.wasm.ts";
import { type RawKernels, type Views, viewsOf } from "./raw.ts";
import { referenceKernels } from "./reference.ts";
import { type WasmModule, webAssembly } from "./web-assembly.ts";

export { Arena } from "./arena.ts";
export type { Columns, Runs } from "./chunks.ts";
export type { CodeRange } from "./code-range.ts";
export {
  type GatherBlocksOutput,
  type GatherBlocksSpec,
  gatherBlocksSizes,
  quantizeGatherBlocks,
} from "./gather-blocks.ts";
export { Kernels, type RangeMode, type Rounding, type SliceParams, type Stochastic } from "./kernels.ts";
export { type GptqPanel, type HqqSpec, Linalg, type Matrix, type Product, SUM_ROWS } from "./linalg.ts";
export {
  type MatMulNBitsOutput,
  type MatMulNBitsSpec,
  matMulNBitsSizes,
  quantizeMatMulNBits,
} from "./matmul-nbits.ts";
export type { Pointer } from "./pointer.ts";

export interface KernelOptions {
  /**
   * auto: wasm if the engine has SIMD, else the reference. The environment variable TERSOR_KERNELS=reference makes auto choose
   * the reference. The results are the same bytes; the reference is 10 to 50 times slower.
   */
  readonly backend?: "auto" | "wasm" | "reference";
  /** Bytes of memory in use at once; 4 GiB less a page if absent. */
  readonly memoryLimit?: number;
}

let shared: Kernels | undefined;
let compiled: WasmModule | undefined;

/** The kernels that everything in this thread shares, with one memory. */
export function kernels(): Kernels {
  shared ??= createKernels();
  return shared;
}

/**
 * New kernels with a memory of their own, instantiated synchronously. A browser's main thread may refuse to compile that much
 * synchronously: call {@link initKernels} first there.
 * @throws limit-exceeded when the system gives no memory; internal when `backend` is wasm and the engine cannot run it
 */
export function createKernels({ backend = "auto", memoryLimit }: KernelOptions = {}): Kernels {
  if (backend === "wasm" || (backend === "auto" && !prefersReference())) return wasmKernels(memoryLimit);
  const memory = plainMemory();
  let views: Views = viewsOf(memory.buffer);
  const current = () => {
    if (views.u8.buffer !== memory.buffer) views = viewsOf(memory.buffer);
    return views;
  };
  return new Kernels(referenceKernels(current), new Arena(memory, memoryLimit), "reference");
}

/** Compiles the wasm module asynchronously; afterwards {@link kernels} and {@link createKernels} need not compile. */
export async function initKernels(): Promise<void> {
  if (!webAssembly || compiled || prefersReference()) return;
  compiled = await webAssembly.compile(decodeBase64(wasmBase64));
}

/** A function that returns a v128: valid only where the engine knows SIMD. */
const simdProbe = Uint8Array.from([
  ...[0, 97, 115, 109, 1, 0, 0, 0], // magic, version
  ...[1, 5, 1, 96, 0, 1, 123], // type () -> v128
  ...[3, 2, 1, 0], // one function of it
  ...[10, 8, 1, 6, 0, 65, 0, 253, 15, 11], // i32.const 0, i8x16.splat
]);

function prefersReference(): boolean {
  const { process } = globalThis as { process?: { env?: { TERSOR_KERNELS?: string } } };
  return process?.env?.TERSOR_KERNELS === "reference" || !webAssembly?.validate(simdProbe);
}

function wasmKernels(memoryLimit: number | undefined): Kernels {
  try {
    if (!webAssembly) throw new TypeError("WebAssembly is not defined");
    compiled ??= new webAssembly.Module(decodeBase64(wasmBase64));
    const memory = new webAssembly.Memory({ initial: 16 });
    const { exports } = new webAssembly.Instance(compiled, { env: { memory } });
    return new Kernels(exports as RawKernels, new Arena(wasmMemory(memory), memoryLimit), "wasm");
  } catch (error) {
    throw new TersorError(
      "internal",
      `kernels: the WebAssembly module does not start: ${messageOf(error)}. Set TERSOR_KERNELS=reference to do without it.`,
      { cause: error },
    );
  }
}

function decodeBase64(text: string): Uint8Array {
  const chars = atob(text);
  const bytes = new Uint8Array(chars.length);
  for (let i = 0; i < chars.length; i++) bytes[i] = chars.charCodeAt(i);
  return bytes;
}
