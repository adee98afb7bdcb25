/** @file Cases of the gradient check: GridSample. ONNX Runtime computes it in float32 here; steps are small, so that few cross a place. */
import type { Case, Cases } from "./gradcheck.ts";

function sampled(attributes: string, rest: Partial<Case> = {}): Case {
  return {
    text: `(T[2,2,4,5] x, T[2,3,2,2] g) => (y) { y = GridSample<${attributes}>(x, g) }`,
    dtype: "float",
    range: [-1.3, 1.3],
    step: 2e-3,
    ...rest,
  };
}

export const gridSamples: Cases = {
  GridSample: [
    sampled('mode = "linear"'),
    sampled('mode = "linear", align_corners = 1, padding_mode = "border"'),
    sampled('mode = "linear", padding_mode = "reflection"'),
    sampled('mode = "linear", align_corners = 1, padding_mode = "reflection"'),
    sampled('mode = "nearest"', { fixed: ["g"] }),
    sampled('mode = "nearest", align_corners = 1, padding_mode = "reflection"', { fixed: ["g"] }),
  ],
};
