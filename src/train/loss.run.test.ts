/** @file Tests of losses: what they compute, against the formula written out, and their gradients against central differences. */
import { describe, expect, it } from "vitest";
import { gradcheck } from "../../test/gradcheck/gradcheck.ts";
import { runModel } from "../../test/run-model.ts";
import { makeEmitter } from "../autodiff/emitter.ts";
import { parse } from "../ir/text/index.ts";
import { infer } from "../ops/infer.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";
import { emitLosses } from "./emit-losses.ts";
import { losses } from "./loss.ts";
import { type LossName, type LossOptions, lossOptions } from "./loss-rule.ts";

/** A tensor as nested lists are read: by index. */
interface Given {
  readonly dims: readonly number[];
  readonly data: readonly number[];
}

interface LossCase {
  readonly y: readonly number[];
  /** Dims of the target; of y where absent. */
  readonly t?: readonly number[];
  /** Class indices as target. */
  readonly labels?: readonly number[];
  readonly options?: Omit<LossOptions, "name">;
  /** Of y and t; float where ONNX Runtime has nothing else. Default double. */
  readonly dtype?: "float" | "double";
  readonly formula: (y: Given, t: Given) => number;
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const mean = (values: readonly number[]) => sum(values) / values.length;
const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const rowsOf = ({ dims, data }: Given): number[][] => {
  const width = data.length / (dims[0] ?? 1);
  return range(dims[0] ?? 1).map((i) => data.slice(i * width, (i + 1) * width));
};
const softmax = (row: readonly number[], temperature = 1) => {
  const powers = row.map((x) => Math.exp(x / temperature));
  return powers.map((x) => x / sum(powers));
};
const norm = (row: readonly number[]) => Math.sqrt(sum(row.map((x) => x * x)));
const minus = (a: readonly number[], b: readonly number[]) => a.map((x, i) => x - (b[i] as number));
const dot = (a: readonly number[], b: readonly number[]) => sum(a.map((x, i) => x * (b[i] as number)));
const huber = (d: number) => (Math.abs(d) <= 1 ? d * d * 0.5 : Math.abs(d) - 0.5);
const apart = (formula: (y: number, t: number) => number) => (y: Given, t: Given) =>
  mean(y.data.map((x, i) => formula(x, t.data[i] as number)));

/** [n, c, h, w] as [n][h · w], by the sum of squares over c, divided by the norm. */
const attentionOf = (x: Given, places: number) =>
  rowsOf(x).map((row) => {
    const map = range(places).map((at) => sum(row.filter((_, i) => i % places === at).map((a) => a * a)));
    return map.map((a) => a / norm(map));
  });

const relativeDistances = (x: Given) => {
  const rows = rowsOf(x);
  const pairs = rows.flatMap((a, i) => rows.flatMap((b, j) => (i === j ? [] : [norm(minus(a, b))])));
  return pairs.map((d) => d / mean(pairs));
};

const cosines = (x: Given) => {
  const rows = rowsOf(x);
  return rows.flatMap((a, i) =>
    rows.flatMap((b, j) =>
      rows.flatMap((c, k) => {
        if (i === j || j === k || i === k) return [];
        const [ab, cb] = [minus(a, b), minus(c, b)];
        return [dot(ab, cb) / (norm(ab) * norm(cb))];
      }),
    ),
  );
};

const relation = (of: (x: Given) => number[]) => (y: Given, t: Given) => {
  const [a, b] = [of(y), of(t)];
  return mean(a.map((x, i) => huber(x - (b[i] as number))));
};

const classLoss = (smoothing: number) => (y: Given, t: Given) =>
  mean(
    rowsOf(y).flatMap((row, i) => {
      const label = t.data[i] as number;
      if (label < 0) return [];
      const q = row.map((_, c) => (c === label ? 1 - smoothing : 0) + smoothing / row.length);
      return [-dot(q, softmax(row).map(Math.log))];
    }),
  );

/** Every way to name a class at each step is gone through, and those are summed that spell the labels. */
const ctcLoss =
  (blank: number) =>
  (y: Given, t: Given): number => {
    const [n = 1, steps = 1, classes = 1] = y.dims;
    const spelled = (path: readonly number[]) => path.filter((label, i) => label !== blank && label !== path[i - 1]);
    const all = (length: number): number[][] =>
      length === 0 ? [[]] : all(length - 1).flatMap((path) => range(classes).map((label) => [...path, label]));
    const losses = range(n).map((row) => {
      const labels = (rowsOf(t)[row] as number[]).filter((label) => label >= 0);
      const p = range(steps).map((at) => softmax((rowsOf(y)[row] as number[]).slice(at * classes, (at + 1) * classes)));
      const paths = all(steps).filter((path) => spelled(path).join() === labels.join());
      const likelihood = sum(
        paths.map((path) => path.reduce((product, label, at) => product * (p[at]?.[label] ?? 0), 1)),
      );
      return -Math.log(likelihood) / Math.max(1, labels.length);
    });
    return mean(losses);
  };

const cases: Readonly<Record<LossName, readonly LossCase[]>> = {
  "cross-entropy": [
    { y: [4, 3], labels: [0, 2, -1, 1], formula: classLoss(0) },
    { y: [2, 5], labels: [4, 4], options: { labelSmoothing: 0.2 }, formula: classLoss(0.2) },
  ],
  "binary-cross-entropy": [{ y: [3, 4], dtype: "float", formula: apart((x, t) => Math.log1p(Math.exp(x)) - t * x) }],
  mse: [{ y: [3, 4], formula: apart((a, b) => (a - b) ** 2) }],
  l1: [{ y: [3, 4], formula: apart((a, b) => Math.abs(a - b)) }],
  kl: [
    {
      y: [3, 4],
      options: { temperature: 3 },
      formula: (y, t) =>
        9 *
        mean(
          rowsOf(y).map((row, i) => {
            const [q, p] = [softmax(row, 3), softmax(rowsOf(t)[i] as number[], 3)];
            return sum(p.map((x, c) => x * Math.log(x / (q[c] as number))));
          }),
        ),
    },
  ],
  cosine: [
    {
      y: [3, 4],
      formula: (y, t) =>
        mean(
          rowsOf(y).map((row, i) => {
            const other = rowsOf(t)[i] as number[];
            return 1 - dot(row, other) / (norm(row) * norm(other));
          }),
        ),
    },
  ],
  ctc: [
    // Labels of several lengths: none, one, as many as there are steps, and a repeat, which needs a blank.
    { y: [4, 4, 3], t: [4, 4], labels: [-1, -1, -1, -1, 2, -1, -1, -1, 1, 2, 1, 2, 2, 2, -1, -1], formula: ctcLoss(0) },
    {
      y: [2, 5, 3],
      t: [2, 5],
      labels: [0, 0, 1, -1, -1, 1, 0, 1, 0, 1],
      options: { blank: "last" },
      formula: ctcLoss(2),
    },
  ],
  attention: [
    {
      y: [2, 3, 2, 3],
      t: [2, 5, 2, 3],
      formula: (y, t) =>
        mean(attentionOf(y, 6).map((row, i) => norm(minus(row, attentionOf(t, 6)[i] as number[])) ** 2)),
    },
    // [batch, steps, features]
    {
      y: [2, 4, 3],
      t: [2, 4, 2],
      options: { channelAxis: 2 },
      formula: (y, t) => {
        const map = (x: Given) =>
          rowsOf(x).map((row) => {
            const width = x.dims[2] as number;
            const places = range(4).map((at) => norm(row.slice(at * width, (at + 1) * width)) ** 2);
            return places.map((a) => a / norm(places));
          });
        return mean(map(y).map((row, i) => norm(minus(row, map(t)[i] as number[])) ** 2));
      },
    },
  ],
  "relation-distance": [{ y: [5, 4], t: [5, 3, 2], formula: relation(relativeDistances) }],
  "relation-angle": [{ y: [5, 4], t: [5, 3, 2], formula: relation(cosines) }],
};

function draw(name: string, dims: readonly number[]): Given {
  const rng = new Rng(3, name);
  return { dims, data: range(elementCount(dims)).map(() => 2 * rng.uniform() - 1) };
}

/** The loss of an input y by an input or a constant t, as a model. */
function lossModel(name: LossName, { y, t = y, labels, options, dtype = "double" }: LossCase) {
  const target = labels ? `int64[${t === y ? labels.length : t}] t` : `${dtype}[${t}] t`;
  const model = parse(
    `<ir_version: 10, opset_import: ["": 21]> g (${dtype}[${y}] y, ${target}) => (z) { z = Identity(y) }`,
  );
  const { graph } = model;
  const op = makeEmitter(graph, model.opset, infer(model));
  const loss = lossOptions.parse({ name, output: "y", target: "input:t", ...options });
  const { total, learned } = emitLosses(op, { losses: [loss] });
  for (const output of [...graph.outputs]) graph.removeOutput(output);
  graph.rename(total, "loss");
  graph.addOutput(total);
  return { model, learned };
}

const numberOf = (tensor: HostTensor | undefined) => Number(tensor?.data[0]);

describe.for(Object.keys(losses) as LossName[])("%s", (name) => {
  it.for(cases[name].map((each, i) => [i, each] as const))(
    "case %i is the formula, and so is its gradient",
    async ([, each]) => {
      const { model } = lossModel(name, each);
      const y = draw("y", each.y);
      const t = each.labels ? { dims: each.t ?? [each.labels.length], data: each.labels } : draw("t", each.t ?? each.y);
      const type = each.dtype === "float" ? "float32" : "float64";
      const feeds = {
        y: hostTensor(type, y.dims, y.data),
        t: hostTensor(each.labels ? "int64" : type, t.dims, t.data),
      };
      const { loss } = await runModel(model, feeds);
      expect(numberOf(loss)).toBeCloseTo(each.formula(y, t), each.dtype === "float" ? 6 : 9);
      const given = each.labels ? { feeds: { t: each.labels } } : {};
      const error = await gradcheck(model, { ...given, ...(each.dtype && { dtype: each.dtype }) });
      expect(error).toBeLessThan(each.dtype === "float" ? 1e-3 : 1e-6);
    },
  );
});

describe("attention", () => {
  it("pools the larger of two sizes, on each axis by itself", async () => {
    const each = { y: [2, 1, 4, 2], t: [2, 1, 2, 3], formula: () => 0 };
    const { model } = lossModel("attention", each);
    expect(await gradcheck(model)).toBeLessThan(1e-6);
    // Rows 0 and 1 make one, 2 and 3 the other; of three columns, the middle one counts on both sides.
    const y = [1, 2, 3, 4, 5, 6, 7, 8].map(Math.sqrt);
    const t = [2, 2, 4, 4, 6, 8].map(Math.sqrt);
    const [rows, columns] = [
      [2, 3, 6, 7],
      [2, 3, 5, 7],
    ];
    const unit = (map: readonly number[]) => map.map((a) => a / norm(map));
    const expected = norm(minus(unit(rows as number[]), unit(columns as number[]))) ** 2;
    const { loss } = await runModel(model, {
      y: hostTensor("float64", each.y, [...y, ...y]),
      t: hostTensor("float64", each.t, [...t, ...t]),
    });
    expect(numberOf(loss)).toBeCloseTo(expected, 9);
  });
});

describe("what does not fit is said with both names", () => {
  it.each([
    [
      "mse",
      { y: [4, 3], t: [4, 5] },
      'loss mse of "y" float64 [4, 3]: its target does not suit it: expected the same type and shape, got "t" float64 [4, 5].',
    ],
    [
      "attention",
      { y: [4, 3, 2], t: [4, 3] },
      'loss attention of "y" [4, 3, 2] and "t" [4, 3]: expected channels at axis 1 and as many axes of places',
    ],
    ["relation-angle", { y: [2, 3], t: [2, 4] }, "expected a batch of 3 or more, got 2"],
    ["relation-distance", { y: [2, 3], t: [3, 3] }, "expected float64 [2, …], a row for each sample"],
  ] as const)("%s", (name, dims, message) => {
    expect(() => lossModel(name, { ...dims, formula: () => 0 })).toThrow(message);
  });
});
