/** @file Sensitivity: against models that are masked one by one; and what ranking by it is good for. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, temporaryFolder } from "../../../test/cli.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import { datasetOf } from "../../data/dataset.ts";
import { metricForLabel } from "../../evaluate/choose-metric.ts";
import { fidelityOf } from "../../evaluate/fidelity.ts";
import { parse } from "../../ir/text/index.ts";
import { inProcessRuntime } from "../../runtime/in-process.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { float32 } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { maskCut } from "../graph/cut.ts";
import { findGroups } from "../graph/groups.ts";
import { prepared } from "../graph/prepare.ts";
import type { PruneOptions } from "../options.ts";
import { pruneChannels } from "./prune-channels.ts";

const rng = new Rng(5, "sensitivity");
const normals = (scale: number, ...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * scale),
  );

/** What "loud" makes is hardly heard, what "quiet" makes is. */
const model = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,6] x) => (float[N,3] y)
  <float[8,6] w1 = ${normals(3, 8, 6)}, float[8,6] w2 = ${normals(0.3, 8, 6)}, float[3,8] v1 = ${normals(0.01, 3, 8)}, float[3,8] v2 = ${normals(2, 3, 8)}> {
  [loud] a = Gemm <transB = 1> (x, w1)  b = Relu(a)  [quiet] c = Gemm <transB = 1> (x, w2)  d = Relu(c)
  e = Gemm <transB = 1> (b, v1)  f = Gemm <transB = 1> (d, v2)  y = Add(e, f) }`;

const inputs = Array.from({ length: 24 }, () => Float32Array.from({ length: 6 }, () => rng.normal()));
const all = {
  x: hostTensor(
    "float32",
    [24, 6],
    inputs.flatMap((x) => [...x]),
  ),
};
const calibration = (labels: boolean, batchSize?: number) => ({
  data: datasetOf(
    "rows",
    inputs.map((data, i) => ({
      id: `${i}`,
      inputs: { x: { dtype: "float32" as const, dims: [1, 6], data } },
      ...(labels && { label: i % 3 }),
    })),
  ),
  open: (probed: typeof model) => inProcessRuntime("ort-node").create(encode(probed), { threads: 1 }),
  batchSize,
});

const prune = (options: PruneOptions, labels = false, batchSize?: number) =>
  pruneChannels(
    model,
    { criterion: "l1", ranking: "layer", recover: "none", ...options },
    calibration(labels, batchSize),
    undefined,
    { judgeFor: metricForLabel },
  );

const outputsOf = async (changed: typeof model) => (await runModel(changed, all)).y?.data as Float32Array;

describe("sensitivity", () => {
  it("is the noise of the outputs with the least channels of a group masked", async () => {
    const { sensitivity, model: same } = await prune({ sensitivity: true, sensitivityRatios: [0.5, 0.25] });
    expect(same).toBe(model);
    expect(sensitivity).toMatchObject({ data: "rows", samples: 24, ratios: [0.25, 0.5] });
    expect(sensitivity?.groups.map(({ name, channels }) => [name, channels])).toEqual([
      ["loud", 8],
      ["quiet", 8],
    ]);
    const { analysis, grouping } = findGroups(prepared(model));
    const [, quiet] = grouping.groups;
    const w2 = model.graph.find("w2")?.tensor?.toFloat32() ?? new Float32Array();
    const norms = Array.from({ length: 8 }, (_, i) =>
      w2.subarray(i * 6, i * 6 + 6).reduce((sum, x) => sum + Math.abs(x), 0),
    );
    const least = [...norms.keys()].sort((a, b) => (norms[a] as number) - (norms[b] as number)).slice(0, 4);
    maskCut(analysis, new Set(least.map((at) => quiet?.atoms[at] as number)));
    const expected = fidelityOf(await outputsOf(model), await outputsOf(analysis.model));
    expect(sensitivity?.groups[1]?.points[1]?.sqnr).toBeCloseTo(expected.sqnr, 3);
    expect(sensitivity?.groups[1]?.points[1]).toMatchObject({ ratio: 0.5, removed: 4 });
  });

  it("is judged by labels as well, whatever the batch", async () => {
    const one = (await prune({ sensitivity: true }, true)).sensitivity;
    const eight = (await prune({ sensitivity: true }, true, 8)).sensitivity;
    expect(one?.metric).toMatchObject({ name: "top-1", unit: "%" });
    expect(eight?.metric).toEqual(one?.metric);
    for (const [i, group] of (one?.groups ?? []).entries())
      for (const [j, point] of group.points.entries()) {
        const other = eight?.groups[i]?.points[j];
        expect(other?.metric).toBe(point.metric);
        expect(other?.noise).toBeCloseTo(point.noise, 5);
      }
  });

  it("as a ranking takes what is not heard, and the outputs lose less", async () => {
    const quality = async (options: PruneOptions) => {
      const { model: pruned, reached, groups } = await prune({ ratio: 0.4, by: "macs", ...options });
      return { sqnr: fidelityOf(await outputsOf(model), await outputsOf(pruned)).sqnr, reached, groups };
    };
    const [layer, sensed] = [await quality({}), await quality({ ranking: "sensitivity" })];
    expect([layer.reached, sensed.reached]).toEqual([true, true]);
    expect(sensed.sqnr).toBeGreaterThan(layer.sqnr + 15);
    expect(sensed.groups.map(({ removed }) => removed)).toEqual([7, 0]);
    expect((await quality({ ranking: "sensitivity" })).groups).toEqual(sensed.groups);
  });

  it("leaves out what only a branch reads, and says so", async () => {
    const branching = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,6] x, bool which) => (float[N,3] y)
      <float[6,8] w1 = ${normals(1, 6, 8)}, float[6,8] w2 = ${normals(1, 6, 8)}, float[8,3] v1 = ${normals(1, 8, 3)}, float[8,3] v2 = ${normals(1, 8, 3)}> {
      [inside] a = MatMul(x, w1)  b = Relu(a)  [outside] c = MatMul(x, w2)  d = Relu(c)  e = MatMul(d, v2)
      f = If (which) <then_branch = yes () => (p) { p = MatMul(b, v1) }, else_branch = no () => (q) { q = Neg(e) }>
      y = Add(e, f) }`;
    const which = { dtype: "bool" as const, dims: [], data: Uint8Array.of(1) };
    const rows = inputs.map((data, i) => ({
      id: `${i}`,
      inputs: { x: { dtype: "float32" as const, dims: [1, 6], data }, which },
    }));
    const options = { ratio: 0.3, ranking: "sensitivity" } as const;
    const data = { ...calibration(false), data: datasetOf("rows", rows) };
    const { groups, sensitivity } = await pruneChannels(branching, options, data);
    expect(sensitivity?.groups.map(({ name }) => name)).toEqual(["outside"]);
    expect(groups.find(({ name }) => name === "inside")).toMatchObject({
      removed: 0,
      reason: "branches and loops read it: its sensitivity can't be measured",
    });
  });

  it("works in the batches that a model wants", async () => {
    const fixed = model.clone();
    for (const value of [...fixed.graph.inputs, ...fixed.graph.outputs])
      if (value.type?.kind === "tensor") value.type = { ...value.type, shape: [7, value.name === "x" ? 6 : 3] };
    const options = { sensitivity: true, criterion: "l1" } as const;
    const { sensitivity } = await pruneChannels(fixed, options, calibration(true), undefined, {
      judgeFor: metricForLabel,
    });
    const free = (await prune({ sensitivity: true }, true)).sensitivity;
    expect(sensitivity?.metric).toEqual(free?.metric);
    expect(sensitivity?.groups.map(({ points }) => points.map(({ metric }) => metric))).toEqual(
      free?.groups.map(({ points }) => points.map(({ metric }) => metric)),
    );
  });

  it("needs data", async () => {
    const options = { ratio: 0.3, ranking: "sensitivity" } as const;
    await expect(pruneChannels(model, options, undefined)).rejects.toThrow("sensitivity needs calibration data");
  });
});

describe("tersor prune --sensitivity", () => {
  const folder = () => {
    const cwd = temporaryFolder();
    writeFileSync(join(cwd, "m.onnx"), encode(model));
    const lines = inputs.map((x, i) => JSON.stringify({ inputs: { x: [...x] }, label: i % 3 }));
    writeFileSync(join(cwd, "rows.jsonl"), lines.join("\n"));
    return cwd;
  };

  it("shows a table, and writes nothing without a ratio", async () => {
    const cwd = folder();
    const args = ["prune", "m.onnx", "--sensitivity", "--calibrate", "rows.jsonl", "--sensitivity-ratios", "[0.5]"];
    const { code, stdout, stderr } = await runCli(args, { cwd });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(
      "Sensitivity: top-1, % with a share of one group's channels gone (24 samples of rows.jsonl",
    );
    expect(stdout).toMatch(/loud +8 +\d+\.\d\d/);
    expect(readdirSync(cwd).sort()).toEqual(["m.onnx", "rows.jsonl"]);
    const json = JSON.parse((await runCli([...args, "--json"], { cwd })).stdout);
    expect(json.steps.at(-1).report.sensitivity.groups).toHaveLength(2);
  });

  it("is refused without data, and for weights", async () => {
    const cwd = folder();
    const none = await runCli(["prune", "m.onnx", "--sensitivity"], { cwd });
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining("sensitivity needs calibration data")]);
    const weights = await runCli(["prune", "m.onnx", "--sensitivity", "--structure", "weights", "--ratio", "0.5"], {
      cwd,
    });
    expect([weights.code, weights.stderr]).toEqual([2, expect.stringContaining("sensitivity is for channels")]);
  });
});
