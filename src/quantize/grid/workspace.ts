/** @file The kernel memory that quantization jobs take turns in. */
import { type Kernels, kernels, type Pointer } from "../../kernels/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";

/** Tensors up to this many bytes are read once and kept while their job has the memory; larger ones are read twice. */
const RESIDENT = 64 << 20;

let base: Pointer | undefined;
let owner: object | undefined;

/**
 * Gives the kernel memory to `job`; what the job before it had there is gone. A job calls this before every step and, when
 * told that the memory is fresh, sets it up again: jobs may interleave in any order.
 */
export function claim(job: object): { memory: Kernels["memory"]; kernels: Kernels; fresh: boolean } {
  const shared = kernels();
  const fresh = owner !== job;
  if (fresh) {
    if (base === undefined) base = shared.memory.mark();
    else shared.memory.release(base);
    owner = job;
  }
  return { memory: shared.memory, kernels: shared, fresh };
}

/** Whether a tensor is small enough to stay in memory between its two passes. */
export function fitsResident(tensor: Tensor): boolean {
  return tensor.size * 4 <= RESIDENT;
}

type FloatReader = (tensor: Tensor, start: number, count: number, to: Pointer) => void;

/** How weights of each float type come into kernel memory as float32. */
const readers: { readonly [dtype in Tensor["dtype"]]?: FloatReader } = {
  float32: (tensor, start, count, to) => {
    tensor.bytes.read(start * 4, count * 4, kernels().memory.u8(to, count * 4));
  },
  float16: (tensor, start, count, to) =>
    readHalf(tensor, start, count, (from) => kernels().halfToFloat(from, count, to)),
  bfloat16: (tensor, start, count, to) =>
    readHalf(tensor, start, count, (from) => kernels().bfloatToFloat(from, count, to)),
};

function readHalf(tensor: Tensor, start: number, count: number, convert: (from: Pointer) => void): void {
  const { memory } = kernels();
  memory.scope(() => {
    const raw = memory.alloc(count * 2);
    tensor.bytes.read(start * 2, count * 2, memory.u8(raw, count * 2));
    convert(raw);
  });
}

/** Whether weights of this type can be quantized. */
export function isReadable(tensor: Tensor): boolean {
  return tensor.dtype in readers;
}

/** Reads elements as float32 into kernel memory. */
export function readFloats(tensor: Tensor, start: number, count: number, to: Pointer): void {
  const read = readers[tensor.dtype];
  if (!read) throw new TersorError("internal", `weights of type ${tensor.dtype} can't be read as float32.`);
  read(tensor, start, count, to);
}
