/** @file The cases of the gradient check, by operator: `domain.Operator`, or `Operator` of ai.onnx. A family of rules, a file. */

import { activations } from "./activation.ts";
import { attentions } from "./attention.ts";
import { contrib } from "./contrib.ts";
import { convs } from "./conv.ts";
import { einsums } from "./einsum.ts";
import { elementwise } from "./elementwise.ts";
import type { Cases } from "./gradcheck.ts";
import { gridSamples } from "./grid-sample.ts";
import { indexOps } from "./index-ops.ts";
import { linalg } from "./linalg.ts";
import { losses } from "./loss.ts";
import { norms } from "./norm.ts";
import { packedProducts } from "./packed-products.ts";
import { pools } from "./pool.ts";
import { quantization } from "./quantize.ts";
import { recurrents } from "./recurrent.ts";
import { reduces } from "./reduce.ts";
import { resizes } from "./resize.ts";
import { shapes } from "./shape.ts";

export const cases: Cases = {
  ...gridSamples,
  ...packedProducts,
  ...attentions,
  ...resizes,
  ...einsums,
  ...recurrents,
  ...indexOps,
  ...elementwise,
  ...contrib,
  ...losses,
  ...quantization,
  ...shapes,
  ...norms,
  ...pools,
  ...convs,
  ...activations,
  ...linalg,
  ...reduces,
};
