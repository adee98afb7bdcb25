/** @file Widths that kernels like, sizes that MACs are counted with, and what is said of a result that is far from its original. */
import { expect, it } from "vitest";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { parse } from "../../ir/text/index.ts";
import * as nn from "../../nn/index.ts";
import { advised } from "../../recipe/steps/prune-advice.ts";
import { cutReport } from "../../recipe/steps/prune-report.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { targetNamed } from "../../targets/targets.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { type PruneOptions, pruneOptions } from "../options.ts";
import { trialRecovery } from "./choose-approach.ts";
import { pruneChannels } from "./prune-channels.ts";
import { Workbench } from "./workbench.ts";

const separable = (width: number) => [nn.depthwiseConv2d(3, { padding: 1 }), nn.relu(), nn.conv2d(width, 1), nn.relu()];
const depthwise = nn.build(
  [nn.conv2d(64, 3), nn.relu(), ...separable(64), ...separable(48), nn.globalAvgPool(), nn.flatten(), nn.linear(4)],
  { input: [3, 10, 10], seed: 3 },
);
const multiple = targetNamed("node-x64").widths?.depthwise;

const cut = (options: PruneOptions, model = depthwise) =>
  pruneChannels(model, options, undefined, undefined, { multiple });
const stay = ({ groups }: Awaited<ReturnType<typeof cut>>) => groups.map(({ channels, removed }) => channels - removed);

it("depthwise networks keep multiples of what the target's kernels work on", async () => {
  const result = await cut({ ratio: 0.3 });
  expect(multiple).toBe(16);
  expect(stay(result).every((count) => count % 16 === 0)).toBe(true);
  expect([result.reached, result.approach.roundTo]).toEqual([true, 16]);
});

it("half as much where the ratio is out of reach otherwise", async () => {
  const narrow = nn.build(
    [nn.conv2d(16, 3), nn.relu(), ...separable(16), nn.globalAvgPool(), nn.flatten(), nn.linear(4)],
    { input: [3, 10, 10], seed: 3 },
  );
  const result = await cut({ ratio: 0.3 }, narrow);
  expect([result.reached, result.approach.roundTo, stay(result)]).toEqual([true, 8, [8, 8]]);
  expect(result.notes).toContainEqual(expect.stringMatching(/no multiple of 16.*may be slower/));
});

it("any width on request, which is said; and in networks without groups", async () => {
  const result = await cut({ ratio: 0.3, roundTo: 1 });
  expect(stay(result).some((count) => count % 16 !== 0)).toBe(true);
  expect(result.notes).toContainEqual(expect.stringMatching(/no multiple of 16.*may be slower/));
  const plain = nn.build([nn.conv2d(20, 3), nn.relu(), nn.globalAvgPool(), nn.flatten(), nn.linear(4)], {
    input: [3, 10, 10],
  });
  expect((await cut({ ratio: 0.3 }, plain)).approach.roundTo).toBe(1);
});

const open = parse`(float[N,3,h,w] x) => (y)
  <float[8,3,3,3] a = ${normal(8, 3, 3, 3)}, float[4,8,1,1] b = ${normal(4, 8, 1, 1)}> { c = Conv(x, a)  r = Relu(c)  y = Conv(r, b) }`;

function normal(...dims: number[]) {
  const rng = new Rng(2, dims.join());
  return float32(
    dims,
    Float32Array.from({ length: dims.reduce((all, dim) => all * dim, 1) }, () => rng.normal()),
  );
}

const samples = Array.from({ length: 8 }, (_, i) => {
  const rng = new Rng(i, "samples");
  const data = Float32Array.from({ length: 3 * 7 * 9 }, () => rng.normal());
  return { id: `${i}`, inputs: { x: { dtype: "float32" as const, dims: [1, 3, 7, 9], data } } };
});
const calibration = {
  data: datasetOf("samples", samples),
  open: (probed: typeof open) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
};

it("MACs are counted with the samples' sizes; without any, one is said to stand for them", async () => {
  const options = { ratio: 0.25, by: "macs" } as const;
  const seen = await pruneChannels(open, options, calibration, {});
  expect(seen.before.macs).toBe(5 * 7 * (8 * 27 + 4 * 8));
  const blind = await pruneChannels(open, { ratio: 0.25 }, undefined);
  expect(blind.notes).toContainEqual(expect.stringMatching(/^MACs are counted with 1 .*"x".*give shapes/));
  expect(seen.notes.some((note) => note.startsWith("MACs"))).toBe(false);
});

it("a result that is far from its original needs training, and one that nothing judged says so", async () => {
  const report = (result: Awaited<ReturnType<typeof cut>>) => advised(cutReport("channels", result, {})).notes;
  const far = await pruneChannels(open, { ratio: 0.7 }, calibration);
  expect(far.approach.judged?.sqnr).toBeLessThan(20);
  expect(report(far)).toContainEqual(expect.stringMatching(/^needs training: .*tersor distill/));
  expect(report(await cut({ ratio: 0.3 }))).toContainEqual(expect.stringMatching(/^nothing looked at outputs/));
  expect(report(await cut({ ratio: 0 }))).not.toContainEqual(expect.stringMatching(/^nothing looked at outputs/));
});

it("solves once, not for every way, where that would take long", () => {
  const bench = (cost: number) => ({ solvingCost: () => cost }) as unknown as Workbench;
  expect([trialRecovery(bench(1e9), 6, "least-squares"), trialRecovery(bench(1e10), 6, "least-squares")]).toEqual([
    "least-squares",
    "none",
  ]);
  const dense = parse`(float[N,6] x) => (y) <float[6,12] a = ${normal(6, 12)}, float[12,4] b = ${normal(12, 4)}> {
    h = MatMul(x, a)  r = Relu(h)  y = MatMul(r, b) }`;
  const around = { seen: undefined, all: undefined, inputShapes: undefined, isOnly: true };
  const real = new Workbench(dense, { ...around, options: pruneOptions.parse({}) });
  expect(real.solvingCost()).toBe(12 * 12 * (12 / 3 + 4));
});
