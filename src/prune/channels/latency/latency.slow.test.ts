/** @file Pruning by latency: pieces that run alone, selection by a clock that is made up, and the same bytes from a table. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli, temporaryFolder } from "../../../../test/cli.ts";
import { runModel } from "../../../../test/run-model.ts";
import { encode } from "../../../../test/wire.ts";
import type { Model } from "../../../ir/model.ts";
import { parse } from "../../../ir/text/index.ts";
import { modelCost } from "../../../ops/cost.ts";
import { infer } from "../../../ops/infer.ts";
import { float32 } from "../../../tensor/tensor.ts";
import { Rng } from "../../../util/rng.ts";
import type { PruneOptions } from "../../options.ts";
import { pruneChannels } from "../prune-channels.ts";
import type { Clock, LatencyTable } from "./latency-table.ts";
import { segmentsOf, timingFeeds } from "./segments.ts";

const rng = new Rng(6, "latency");
const normals = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * 0.3),
  );

const model = parse`<ir_version: 10, opset_import: ["": 21]> net (float[N,3,8,8] x) => (float[N,4] y)
  <float[16,3,3,3] w1 = ${normals(16, 3, 3, 3)}, float[16,16,3,3] w2 = ${normals(16, 16, 3, 3)}, float[16,16,3,3] w3 = ${normals(16, 16, 3, 3)},
   float[16,4] w4 = ${normals(16, 4)}, int64[2] s = {0, -1}> {
  [a] a = Conv <pads = [1, 1, 1, 1]> (x, w1)  ra = Relu(a)
  [b] b = Conv <pads = [1, 1, 1, 1]> (ra, w2)  rb = Relu(b)
  [c] c = Conv <pads = [1, 1, 1, 1]> (rb, w3)  rc = Relu(c)
  p = GlobalAveragePool(rc)  f = Reshape(p, s)  [d] y = MatMul(f, w4) }`;

const macsOf = (one: Model, shapes?: Record<string, readonly number[]>) =>
  modelCost(one, infer(one, shapes ? { inputShapes: shapes } : {}).types, { N: 1 }).macs ?? 0;

/** Time as MACs in steps, and a whole that gains less than its pieces; counts what it is asked. */
function fakeClock(known?: LatencyTable) {
  const asked: number[] = [];
  const ms = (one: Model) => 1 + Math.ceil((macsOf(one) || 1) / 5000);
  const clock: Clock = {
    name: "made up",
    known,
    async time(models) {
      asked.push(models.length);
      const times = models.map(ms);
      const [first = 1] = times;
      return times.map((each) => {
        const ratio = each / first;
        return { ms: each, spread: 0, against: { ratio, low: ratio - 0.01, high: ratio + 0.01 } };
      });
    },
  };
  return { clock, asked };
}

const prune = (options: PruneOptions, clock: Clock) =>
  pruneChannels(model, { by: "latency", ...options }, undefined, undefined, { clock });

describe("pieces of a model", () => {
  it("have a layer each with what follows it; equal ones have one key; each runs alone", async () => {
    const segments = segmentsOf(model);
    expect(segments.map(({ name }) => name)).toEqual(["a", "b", "c", "d"]);
    const keys = segments.map(({ key }) => key);
    expect(new Set(keys).size).toBe(4);
    for (const { build } of segments) {
      const piece = build() as Model;
      const outputs = await runModel(piece, timingFeeds(piece));
      expect(Object.values(outputs)).toHaveLength(1);
    }
    // Names and weights do not matter, sizes do.
    const other = model.clone();
    for (const value of [...other.graph.values])
      if (!value.isInput && !value.isOutput) other.graph.rename(value, `${value.name}_`);
    expect(segmentsOf(other).map(({ key }) => key)).toEqual(keys);
    expect(segmentsOf(model, { N: 2 }).map(({ key }) => key)).not.toEqual(keys);
  });
});

describe("by latency", () => {
  it("takes the least that the clock says is enough, and the same from its table without a clock", async () => {
    const { clock } = fakeClock();
    const { latency, reached, groups, removed } = await prune({ ratio: 0.4 }, clock);
    expect(reached).toBe(true);
    expect(removed).toBeGreaterThanOrEqual(0.4);
    expect(latency?.measured).toBe(removed);
    expect([latency?.unmeasured, latency?.table.measuredWith]).toEqual([[], "made up"]);
    const again = await prune({ ratio: 0.4 }, { name: "none", time: undefined, known: latency?.table });
    expect(again.groups).toEqual(groups);
    expect(again.latency).toMatchObject({ timed: 0, table: latency?.table });
  });

  it("says when it is not enough", async () => {
    const { latency, reached, notes } = await prune({ ratio: 0.9, minChannels: 12 }, fakeClock().clock);
    expect(reached).toBe(false);
    expect(latency?.high).toBeLessThan(0.9);
    expect(notes.at(-1)).toMatch(/^90 % of latency can't be removed, [\d.]+ % were: .* keeps 12/);
  });

  it("measures nothing where nothing may run", async () => {
    const clock = { name: "none", time: undefined };
    await expect(prune({ ratio: 0.4 }, clock)).rejects.toThrow("nothing is measured in a dry run");
  });
});

describe("tersor prune --by latency", () => {
  it("keeps what it timed in the manifest, and gives the same bytes from that", { timeout: 60_000 }, async () => {
    const cwd = temporaryFolder();
    writeFileSync(join(cwd, "m.onnx"), encode(model));
    const args = ["prune", "m.onnx", "--by", "latency", "--ratio", "0.2", "--no-compressed", "--shapes", "x=1,3,8,8"];
    const first = await runCli([...args, "-o", "a.onnx"], { cwd });
    expect(first.stderr).toBe("");
    expect([0, 1]).toContain(first.code);
    expect(first.stdout).toMatch(/latency -?[\d.]+ % less \(middle half of the rounds/);
    const second = await runCli([...args, "-o", "b.onnx", "--latency-table", "a.onnx.json"], { cwd });
    expect([second.code, second.stderr]).toEqual([first.code, ""]);
    expect(readFileSync(join(cwd, "b.onnx")).equals(readFileSync(join(cwd, "a.onnx")))).toBe(true);
    const { report } = JSON.parse(readFileSync(join(cwd, "b.onnx.json"), "utf8")).steps.at(-1);
    expect(report.latency.timed).toBe(0);
  });

  it.each([
    [["--latency-table", "none.json"], 3, "there is no such file"],
    [["--latency-table", "m.json"], 3, "holds no table"],
    [["--structure", "weights"], 2, "--by has no effect here: it goes with channels"],
    [["--dry-run"], 2, "nothing is measured in a dry run"],
  ])("%j is refused", async (more, code, message) => {
    const cwd = temporaryFolder();
    writeFileSync(join(cwd, "m.onnx"), encode(model));
    writeFileSync(join(cwd, "m.json"), "{}");
    const result = await runCli(["prune", "m.onnx", "--by", "latency", "--ratio", "0.2", ...more], { cwd });
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(message)]);
  });
});
