/** @file The kernels in plain TypeScript: the oracle of the wasm module, and its stand-in where SIMD is missing. */
import type { RawKernels, Views } from "./raw.ts";
import { hqq } from "./reference/hqq.ts";
import { layout } from "./reference/layout.ts";
import { linalg } from "./reference/linalg.ts";
import { quantize } from "./reference/quantize.ts";
import { statistics } from "./reference/statistics.ts";

/** Every kernel over the memory that `views` shows at the time of the call. */
export function referenceKernels(views: () => Views): RawKernels {
  return { ...statistics(views), ...quantize(views), ...layout(views), ...linalg(views), ...hqq(views) };
}
