/** @file Round to nearest as a method: what the others are compared with; the streaming form is rtn.ts. */
import * as z from "zod";
import { kernels } from "../../kernels/index.ts";
import { matrixParams, nearestCodes, place } from "./matrix.ts";
import type { QuantMethod } from "./method.ts";

const options = z.strictObject({});

export const nearest: QuantMethod<z.output<typeof options>> = {
  name: "rtn",
  paper: "Jacob et al. 2018, https://arxiv.org/abs/1712.05877",
  summary: "every weight by itself to the nearest code",
  options,
  needs: "nothing",

  quantize(matrix, spec) {
    return kernels().memory.scope(() => {
      const x = place(matrix);
      return nearestCodes(matrix, spec, x, matrixParams(matrix, spec, x));
    });
  },
};
