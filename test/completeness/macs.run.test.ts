/** @file Multiply-accumulates that pruning reports are those of the files: counted from the sizes of what ONNX Runtime computes. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, expect, test } from "vitest";
import { byName } from "./check-quantize.ts";
import { models } from "./models.ts";
import { type FileNode, readOnnx, sizeOf } from "./read-onnx.ts";
import type { Plan } from "./rows.ts";
import { Bench } from "./run-row.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-macs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A field of protobuf that has a length. */
function field(number: number, content: Uint8Array): Uint8Array {
  const head = [(number << 3) | 2];
  for (let rest = content.length; ; rest = Math.floor(rest / 128)) {
    head.push(rest < 128 ? rest : (rest % 128) + 128);
    if (rest < 128) break;
  }
  return Buffer.concat([Buffer.from(head), content]);
}

/** The file with these values as further outputs: a second `graph` is merged into the first. */
function withOutputs(path: string, names: readonly string[]): Uint8Array {
  const infos = names.map((name) => field(12, field(1, new TextEncoder().encode(name))));
  return Buffer.concat([readFileSync(path), field(7, Buffer.concat(infos))]);
}

/** Factors that go into one number of a node's output: inputs of a group times places of the kernel, or rows of a matrix. */
const terms: Readonly<Record<string, (dims: readonly number[], node: FileNode) => number>> = {
  Conv: (dims) => sizeOf(dims.slice(1)),
  Gemm: (dims, node) => dims[node.ints.get("transB") === 1 ? 1 : 0] as number,
  MatMul: (dims) => dims.at(-2) as number,
};

async function countMacs(path: string, input: string, dims: readonly number[]): Promise<number> {
  const file = readOnnx(path);
  const constants = byName(file);
  const nodes = file.graphs.flatMap(({ nodes: own }) => own.filter(({ opType }) => Object.hasOwn(terms, opType)));
  const session = await ort.InferenceSession.create(
    withOutputs(
      path,
      nodes.map(({ outputs }) => outputs[0] as string).filter((name) => name !== "logits" && name !== "output"),
    ),
    { graphOptimizationLevel: "disabled" },
  );
  const outputs = await session.run({ [input]: new ort.Tensor("float32", new Float32Array(sizeOf(dims)), [...dims]) });
  await session.release();
  return nodes.reduce((sum, node) => {
    const weight = constants.get(node.inputs[1] as string)?.dims as readonly number[];
    const per = (terms[node.opType] as (typeof terms)[string])(weight, node);
    return sum + sizeOf(outputs[node.outputs[0] as string]?.dims ?? []) * per;
  }, 0);
}

const plan: Plan = {
  name: "macs",
  step: "prune",
  factors: {},
  fixed: { structure: "channels", compressed: false, criterion: "l2" },
  fits: () => true,
};

test.each([
  ["autoencoder", "input", [1, 640]],
  ["ds-cnn", "mfcc", [1, 1, 49, 10]],
  ["resnet8", "input", [1, 3, 32, 32]],
  ["mobilenet", "input", [1, 3, 96, 96]],
  ["resnet20", "input", [1, 3, 32, 32]],
] as const)("%s", async (name, input, dims) => {
  const model = models.find((each) => each.name === name);
  if (!model) throw new Error(`no model "${name}"`);
  const { before, after, manifest } = await new Bench(join(folder, name)).write(model, plan, {
    ratio: 0.3,
    by: "macs",
  });
  const { macs, removed, reached } = (manifest.steps[0]?.report ?? {}) as {
    macs: { before: number; after: number };
    removed: number;
    reached: boolean;
  };
  const [was, is] = [await countMacs(before, input, dims), await countMacs(after, input, dims)];
  expect(macs).toEqual({ before: was, after: is });
  expect(removed).toBeCloseTo(1 - is / was, 6);
  expect(reached).toBe(1 - is / was >= 0.3);
});
