import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Label, Sample } from "../data/dataset.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { chooseMetric, type MetricSpec, metricForLabel } from "./choose-metric.ts";
import { decodeCtc, editDistance, parseCharset } from "./ctc.ts";

const files = {
  readText: async () => "a\nb\n",
  loadModule: async (): Promise<unknown> => ({ higherIsBetter: true, create: () => ({ add() {}, value: () => 42 }) }),
};
const sample = (label?: Label): Sample => ({ id: "s", inputs: {}, ...(label === undefined ? {} : { label }) });
const row = (...values: number[]): HostTensor => hostTensor("float32", [1, values.length], values);
const ints = (...values: number[]): HostTensor => hostTensor("int64", [values.length], values);

async function measure(spec: MetricSpec, pairs: readonly (readonly [HostTensor, Label])[]): Promise<number> {
  const accumulator = (await chooseMetric(spec, files)).create();
  for (const [output, label] of pairs) accumulator.add({ y: output }, sample(label));
  return accumulator.value();
}

describe("metrics", () => {
  const scores = row(0.1, 0.5, 0.2, 0.9, 0.3, 0.4);

  it.each<[MetricSpec, (readonly [HostTensor, Label])[], number]>([
    [
      "top-1",
      [
        [scores, 3],
        [scores, 1],
        [scores, 0],
        [scores, 2],
      ],
      25,
    ],
    [
      "top-5",
      [
        [scores, 3],
        [scores, 1],
        [scores, 0],
        [scores, 2],
      ],
      75,
    ],
    [
      "top-1",
      [
        [row(1, 1), 0],
        [row(1, 1), 1],
      ],
      50,
    ],
    ["top-1", [[row(Number.NaN, Number.NaN), 0]], 0],
    [
      { name: "top-1", axis: 1 },
      [[hostTensor("float32", [1, 2, 3], [5, 0, 5, 0, 5, 0]), ints(0, 1, 1)]],
      (100 * 2) / 3,
    ],
    ["top-1", [[hostTensor("float32", [1, 3, 2], [1, 0, 1, 0, 1, 0]), ints(0, 1, -1)]], 50],
    [
      "accuracy",
      [
        [scores, 3],
        [scores, 1],
      ],
      50,
    ],
    [
      "accuracy",
      [
        [row(0.7), 1],
        [row(0.4), 0],
        [row(0.6), 0],
        [row(0.1), 1],
      ],
      50,
    ],
    [{ name: "accuracy", threshold: 0 }, [[row(0.4), 1]], 100],
    [
      "accuracy",
      [
        [ints(3), 3],
        [ints(2), 3],
      ],
      50,
    ],
    ["cross-entropy", [[row(0.25, 0.75), 0]], Math.log(4)],
    ["cross-entropy", [[row(1, 1, 1, 1), 2]], Math.log(4)],
    ["cross-entropy", [[row(1000, 0), 1]], 1000],
    [{ name: "cross-entropy", from: "logits" }, [[row(0.25, 0.75), 0]], Math.log(1 + Math.exp(0.5))],
    [{ name: "cross-entropy", from: "log-probabilities" }, [[row(-3, -0.05), 0]], 3],
    ["perplexity", [[hostTensor("float32", [1, 3, 2], [0, 0, 0, 0, 9, 0]), ints(0, 1, -1)]], 2],
    [
      "mse",
      [
        [row(1, 2), ints(1, 4)],
        [row(3), 3],
      ],
      4 / 3,
    ],
  ])("%j of %#", async (spec, pairs, wanted) => {
    expect(await measure(spec, pairs)).toBeCloseTo(wanted, 4);
  });

  it("counts the edits of lines that are read", async () => {
    // classes: blank, a, b; steps spell "ab" and "a"
    const line = (...best: number[]) =>
      hostTensor(
        "float32",
        [1, best.length, 3],
        best.flatMap((k) => [0, 1, 2].map((i) => (i === k ? 1 : 0))),
      );
    const cer = await measure({ name: "cer", charset: "charset.txt" }, [
      [line(1, 1, 0, 2), "ab"],
      [line(0, 1), "bab"],
    ]);
    expect(cer).toBeCloseTo((100 * 2) / 5, 10);
  });

  it.each<[MetricSpec, HostTensor, Label | undefined, string]>([
    ["top-1", scores, 6, 'label out of range: expected 0 to 5 (output "y" has 6 classes), got 6'],
    ["top-1", scores, -1, "label out of range"],
    ["top-1", scores, "cat", 'label is text: expected a class index, got "cat"'],
    ["top-1", scores, undefined, 'sample "s": has no label'],
    ["top-1", scores, ints(1, 2), "expected 1 (one for each 6 scores of axis 1), got 2"],
    [{ name: "top-1", output: "z" }, scores, 1, 'no output "z": expected one of y'],
    [{ name: "cer", charset: ["", "a"] }, hostTensor("float32", [1, 1, 3], [0, 0, 0]), "a", "expected 3 entries"],
    ["mse", row(1, 2), ints(1), "expected 2 values, got 1"],
  ])("%j refuses %#", async (spec, output, label, message) => {
    const accumulator = (await chooseMetric(spec, files)).create();
    expect(() => accumulator.add({ y: output }, sample(label))).toThrowError(message);
    expect(() => accumulator.value()).toThrowError("nothing to judge");
  });
});

describe("choice of a metric", () => {
  it.each<[Label | undefined, string | undefined]>([
    [3, "top-1"],
    [2.5, "mse"],
    [ints(1, 2), "perplexity"],
    [row(1), "mse"],
    ["text", undefined],
    [undefined, undefined],
  ])("by the label (%#)", (label, name) => expect(metricForLabel(sample(label))?.name).toBe(name));

  it("takes a module of the user's", async () => {
    const metric = await chooseMetric({ name: "mine.js", anything: 1 }, files);
    expect(metric).toMatchObject({ name: "mine.js", higherIsBetter: true, unit: "" });
    expect(metric.create().value()).toBe(42);
  });

  it.each<[MetricSpec, unknown, string]>([
    ["top1", undefined, "there is no such metric: expected top-1, top-5"],
    [{ name: "top-1", axes: 1 }, undefined, 'unknown option "axes" (did you mean axis?)'],
    ["cer", undefined, '"charset": expected string or array, got nothing'],
    ["mine.js", { create: 1 }, "its default export is no metric"],
  ])("refuses %j", async (spec, exported, message) => {
    await expect(chooseMetric(spec, { ...files, loadModule: async () => exported })).rejects.toThrowError(message);
  });
});

describe("reading lines", () => {
  it("merges repeats, unless a blank parts them", () => {
    const steps = [1, 1, 0, 1, 2, 2, 0].flatMap((k) => [0, 1, 2].map((i) => (i === k ? 1 : 0)));
    expect(decodeCtc(hostTensor("float32", [7, 3], steps), ["", "a", "b"], 0, "y")).toBe("aab");
    expect(decodeCtc(hostTensor("float32", [7, 3], steps), ["a", "b", ""], 2, "y")).toBe("baba");
    expect(() => decodeCtc(hostTensor("float32", [2, 1, 3], [0, 0, 0, 0, 0, 0]), ["", "a", "b"], 0, "y")).toThrowError(
      "y: not scores of a line: expected [1, steps, classes], got float32 [2, 1, 3]",
    );
  });

  it("makes classes of a charset file", () => {
    expect(parseCharset("a\nb\n", { space: true })).toEqual(["", "a", "b", " "]);
    expect(parseCharset("a\r\n \r\nb", { blank: "last" })).toEqual(["a", " ", "b", ""]);
  });

  it("counts code points as the textbook does", () => {
    const textbook = (a: readonly string[], b: readonly string[]): number => {
      let previous = b.map((_, j) => j + 1);
      previous.unshift(0);
      for (const [i, x] of a.entries()) {
        const next = [i + 1];
        for (const [j, y] of b.entries())
          next.push(Math.min((next[j] ?? 0) + 1, (previous[j + 1] ?? 0) + 1, (previous[j] ?? 0) + (x === y ? 0 : 1)));
        previous = next;
      }
      return previous.at(-1) ?? 0;
    };
    const text = fc.array(fc.constantFrom("a", "b", "字", "😀", "😁"), { maxLength: 12 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(editDistance(a.join(""), b.join(""))).toBe(textbook(a, b));
      }),
      { seed: 1 },
    );
  });
});
