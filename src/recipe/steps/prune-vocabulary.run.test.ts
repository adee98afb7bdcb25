/** @file Tests of pruning the vocabulary, from files to files. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { tinyTokenizer } from "../../../test/tiny-tokenizer.ts";
import { writeTinyTransformer } from "../../../test/tiny-transformers.ts";
import { encode } from "../../../test/wire.ts";
import { TextTokenizer } from "../../data/tokenizer.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import { loadModel } from "../../node/load.ts";
import { runRecipe } from "../node/run-recipe.ts";
import type { PruneStepReport } from "./prune-report.ts";

/** A folder with a model, the tokenizer of seven words and a corpus that has two of them. */
function folderWith(model: Model | "bert" | "gpt2") {
  const folder = mkdtempSync(join(tmpdir(), "tersor-vocabulary-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  if (typeof model === "string") writeTinyTransformer(model, folder);
  else writeFileSync(join(folder, "model.onnx"), encode(model));
  writeFileSync(join(folder, "tokenizer.json"), tinyTokenizer);
  writeFileSync(join(folder, "corpus.txt"), "the cat\ncat the the\n");
  return { folder, path: join(folder, typeof model === "string" ? "onnx/model.onnx" : "model.onnx") };
}

async function prune({ folder, path }: ReturnType<typeof folderWith>, options: object = {}) {
  const output = join(folder, "small.onnx");
  const files = {
    corpus: join(folder, "corpus.txt"),
    tokenizer: join(folder, "tokenizer.json"),
    vocabularyFiles: join(folder, "small"),
  };
  const step = { prune: { structure: "vocabulary", compressed: false, ...files, ...options } };
  const { manifest } = await runRecipe({ model: path, output, steps: [step] });
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
  return { report: manifest.steps[0]?.report as PruneStepReport, model: loadModel(output), read };
}

/** Ids are compared with padding; the table is tied to the answers, which have a bias. */
const tied = () =>
  parse(`<ir_version: 10, opset_import: ["": 21]> g (int64[N,T] input_ids) => (float[N,T,7] logits, float[N,T] mask)
    <float[7,3] table = {1,2,3,4,5,6,7,8,9,1,3,5,7,9,2,4,6,8,2,3,5}, float[7] bias = {1,2,3,4,5,6,7}, int64 padding = {6}> {
      ids32 = Cast <to = 6> (input_ids)  e = Gather(table, ids32)  t = Transpose <perm = [1, 0]> (table)
      h = Tanh(e)  p = MatMul(h, t)  logits = Add(p, bias)
      i = Equal(input_ids, padding)  mask = Cast <to = 1> (i)
    }`);

it("takes out the tokens that a corpus does not have, and the answers for them", async () => {
  const { report, model, read } = await prune(folderWith("gpt2"));
  // [PAD] [UNK] [CLS] [SEP] the cat, of 24 rows.
  expect(report.vocabulary).toMatchObject({
    before: 24,
    after: 6,
    inCorpus: 4,
    input: "input_ids",
    outputs: ["logits"],
  });
  expect(report.proof?.maxRelativeError).toBeLessThan(1e-6);
  expect(model.graph.find("words")?.tensor?.dims).toEqual([6, 32]);
  expect(model.graph.find("w_head")?.tensor?.dims).toEqual([32, 6]);
  expect(report.params.after).toBe(report.params.before - 2 * 18 * 32);
  expect(read("small.vocabulary.json")).toEqual({
    before: 24,
    after: 6,
    input: "input_ids",
    outputs: ["logits"],
    oldIds: [0, 1, 2, 3, 4, 5],
  });
  const smaller = new TextTokenizer(JSON.stringify(read("small.tokenizer.json")), "small");
  expect(smaller.encode("the cat sat", undefined, {}).ids).toEqual([2, 4, 5, 1, 3]);
});

it("leaves outputs that are no answers for tokens as they are", async () => {
  const { report } = await prune(folderWith("bert"));
  expect([report.vocabulary?.outputs, report.kept]).toEqual([[], []]);
  expect(report.proof?.maxRelativeError).toBe(0);
});

it("moves ids that the graph compares with, and takes rows of a tied table once", async () => {
  const given = folderWith(tied());
  const { report, model, read } = await prune(given, {
    tokenizer: undefined,
    corpus: { path: join(given.folder, "corpus.txt"), tokenizer: join(given.folder, "tokenizer.json") },
  });
  expect(read("small.vocabulary.json").oldIds).toEqual([2, 3, 4, 5, 6]);
  expect(report.proof?.maxRelativeError).toBeLessThan(1e-6);
  expect(model.graph.find("table")?.tensor?.dims).toEqual([5, 3]);
  expect(Array.from(model.graph.find("bias")?.tensor?.toNumbers() ?? [])).toEqual([3, 4, 5, 6, 7]);
  const equal = model.graph.nodes.find(({ opType }) => opType === "Equal");
  expect(Array.from(equal?.input(1).tensor?.toNumbers() ?? [])).toEqual([4]);
});

it("says which operator holds an output", async () => {
  const model = parse(`<ir_version: 10, opset_import: ["": 21]> g (int64[N,T] input_ids) => (float[N,T,7] shares)
    <float[7,3] table = {1,2,3,4,5,6,7,8,9,1,3,5,7,9,2,4,6,8,2,3,5}, float[3,7] w = {1,2,3,4,5,6,7,8,9,1,3,5,7,9,2,4,6,8,2,3,5}> {
      e = Gather(table, input_ids)  p = MatMul(e, w)  shares = Softmax(p)
    }`);
  const { report } = await prune(folderWith(model));
  expect(report.kept).toMatchObject([{ layer: "shares", because: "Softmax" }]);
  expect(report.vocabulary?.outputs).toEqual([]);
});

const unfit = (nodes: string) =>
  parse(
    `<ir_version: 10, opset_import: ["": 21]> g (int64[N,T] input_ids) => (y) <float[7,3] w = {1,2,3,4,5,6,7,8,9,1,3,5,7,9,2,4,6,8,2,3,5}> { ${nodes} }`,
  );

it.each([
  [tied(), { ratio: 0.5 }, "expected no ratio"],
  [tied(), { corpus: undefined }, "needs a corpus"],
  [tied(), { vocabularyFiles: undefined }, "expected vocabularyFiles"],
  [tied(), { tokenizer: "none.json" }, "none.json"],
  [unfit("y = Cast <to = 1> (input_ids)"), {}, "expected one input of token ids"],
  [
    unfit(
      "e = Gather(w, input_ids)  n = Neg(input_ids)  f = Cast <to = 1> (n)  u = Unsqueeze(f, i)  y = Add(e, u)".replace(
        "Unsqueeze(f, i)",
        "ReduceSum <keepdims = 1> (f)",
      ),
    ),
    {},
    "computes with the ids",
  ],
  [unfit("e = Gather(w, input_ids)  t = ReduceMax(w)  y = Add(e, t)"), {}, 'rows of "w" can\'t go'],
])("refuses what can't be done (%#)", async (model, options, message) => {
  await expect(prune(folderWith(model), options)).rejects.toThrow(message);
});

const stories = join(import.meta.dirname, "../../../../shared/data/stories260k");

it.skipIf(!existsSync(stories))("of stories260K loses nothing on a story", async () => {
  const { folder } = folderWith(tied());
  const corpus = {
    path: join(stories, "tokens.i16.bin"),
    dtype: "int16",
    dims: [257],
    take: 2,
    nextToken: { padding: -1 },
  };
  const { report } = await prune({ folder, path: join(stories, "stories260K.onnx") }, { tokenizer: undefined, corpus });
  expect(report.vocabulary?.before).toBe(512);
  expect(report.vocabulary?.after).toBeLessThan(300);
  expect(report.proof?.maxRelativeError).toBeLessThan(1e-5);
});
