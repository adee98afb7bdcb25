/** @file Every kind of bad calibration data: the whole message, and nothing written. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { filesIn, temporaryFolder } from "../../../test/cli.ts";
import { encode } from "../../../test/wire.ts";
import { encodeNpy, encodeNpz } from "../../data/npy.ts";
import { parse } from "../../ir/text/index.ts";
import type { DType } from "../../tensor/dtype.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { runRecipe } from "./run-recipe.ts";

const rng = new Rng(8, "bad data");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const image = encode(parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,3,8,8] x) => (float[N,16,8,8] y) <float[16,3,3,3] w = ${normal(16, 3, 3, 3)}> {
    [root] r = Sqrt(x)
    [shift] s = Neg(r)
    [conv] y = Conv<pads = [1,1,1,1]>(s, w)
  }`);
const tokens = encode(parse`<ir_version: 8, opset_import: ["": 17]>
  g (int64[N,T] ids, float[N,T,16] more) => (float[N,T,32] y)
  <float[9,16] words = ${normal(9, 16)}, float[16,32] w = ${normal(16, 32)}> {
    e = Gather(words, ids)
    s = Add(e, more)
    [head] y = MatMul(s, w)
  }`);

const npy = (dtype: DType, dims: readonly number[], values: readonly number[]) =>
  encodeNpy(hostTensor(dtype, dims, values));
const filled = (count: number, value = 0.5) => Array<number>(count).fill(value);

interface Row {
  readonly what: string;
  readonly model?: Uint8Array;
  readonly file: string;
  readonly content: string | Uint8Array;
  /** FOLDER stands for the temporary folder. */
  readonly says: string;
}

const rows: readonly Row[] = [
  {
    what: "a wrong shape",
    file: "d.npy",
    content: npy("float32", [1, 3, 8, 9], filled(216)),
    says: 'd.npy#0: input "x": wrong shape: expected float32 [N, 3, 8, 8], got float32 [3, 8, 9]. The first axis is the batch; a sample may leave it out.',
  },
  {
    what: "a wrong dtype",
    model: tokens,
    file: "d.npz",
    content: encodeNpz({
      ids: hostTensor("float32", [1, 2], [1, 1.5]),
      more: hostTensor("float32", [1, 2, 16], filled(32)),
    }),
    says: 'd.npz#0: input "ids": element 1 does not fit the model\'s type: expected int64, got 1.5.',
  },
  {
    what: "a wrong name",
    file: "d.jsonl",
    content: '{"inputs": {"y": [1]}}\n',
    says: 'FOLDER/d.jsonl:1: wrong inputs: expected "x", got "y". Name the values as the model\'s inputs are named.',
  },
  {
    what: "a missing input",
    model: tokens,
    file: "d.npz",
    content: encodeNpz({ ids: hostTensor("int64", [1, 2], [1, 2]) }),
    says: "FOLDER/d.npz: wrong arrays: expected one for each input (ids, more), got ids.",
  },
  {
    what: "different numbers of samples",
    model: tokens,
    file: "d.npz",
    content: encodeNpz({
      ids: hostTensor("int64", [2, 1], [1, 2]),
      more: hostTensor("float32", [3, 1, 16], filled(48)),
    }),
    says: "d.npz:more: wrong number of rows: expected 2 as in d.npz:ids, got 3.",
  },
  {
    what: "no samples",
    file: "d.npy",
    content: npy("float32", [0, 3, 8, 8], []),
    says: "d.npy: holds no samples.",
  },
  {
    what: "NaN in the middle of the model",
    file: "d.npy",
    content: npy("float32", [2, 3, 8, 8], [...filled(192), ...filled(192, -1)]),
    says: 'calibration, sample "d.npy#1": Sqrt "root" gives NaN or infinity: expected finite numbers. Check the sample and its preprocessing.',
  },
];

it.each(rows)("refuses $what", async ({ model = image, file, content, says }) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), model);
  writeFileSync(join(folder, file), content);
  const recipe = { model: "m.onnx", output: "q.onnx", data: file, steps: [{ quantize: { mode: "static" } }] } as const;
  const error: unknown = await runRecipe(recipe, { folder }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({ code: "bad-data", message: says.replace("FOLDER", folder) });
  expect(filesIn(folder)).toEqual([file, "m.onnx"].sort());
});
