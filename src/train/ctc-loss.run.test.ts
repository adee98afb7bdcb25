/** @file Tests of CTC against PyTorch in float64, on sequences that are too long to try every path; and of training a reader of lines. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { runModel } from "../../test/run-model.ts";
import { makeEmitter } from "../autodiff/emitter.ts";
import { gradient } from "../autodiff/gradient.ts";
import { datasetOf, type Sample } from "../data/dataset.ts";
import { chooseMetric } from "../evaluate/choose-metric.ts";
import { parse } from "../ir/text/index.ts";
import { linear, relu } from "../nn/basic.ts";
import { build } from "../nn/compose.ts";
import { infer } from "../ops/infer.ts";
import { inProcessRuntime } from "../runtime/in-process.ts";
import { type HostTensor, hostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { Rng } from "../util/rng.ts";
import { emitLosses } from "./emit-losses.ts";
import { fit as trainModel } from "./fit.ts";
import { lossOptions } from "./loss-rule.ts";

interface Case {
  readonly steps: number;
  readonly classes: number;
  readonly lengths: readonly number[];
  readonly scale: number;
  readonly loss: number;
  /** Of the gradient g, and sum_i cos(i) g_i. */
  readonly norm: number;
  readonly product: number;
}

/** Made by scripts/generate-ctc-gradients.py, which says what they are. */
const cases: readonly Case[] = JSON.parse(
  readFileSync(new URL("../../test/fixtures/ctc.json", import.meta.url), "utf8"),
);

async function solve({ steps, classes, lengths, scale }: Case, dtype: "float" | "double", most = steps) {
  const n = lengths.length;
  const model = parse(`<ir_version: 10, opset_import: ["": 21]>
    g (${dtype}[${n},${steps},${classes}] y, int64[${n},${most}] t) => (z) { z = Identity(y) }`);
  const { graph } = model;
  const op = makeEmitter(graph, model.opset, infer(model));
  const { total } = emitLosses(op, {
    losses: [lossOptions.parse({ name: "ctc", output: "y", target: "input:t", maxLabels: most })],
  });
  for (const output of [...graph.outputs]) graph.removeOutput(output);
  graph.addOutput(total);
  const result = gradient(model, { of: total.name, with: ["y"] });
  const y = Array.from({ length: n * steps * classes }, (_, i) => scale * Math.sin(i * i));
  const t = lengths.flatMap((length, row) =>
    Array.from({ length: most }, (_, i) => (i < length ? 1 + ((i * i + row) % (classes - 1)) : -1)),
  );
  const outputs = await runModel(result.model, {
    y: hostTensor(dtype === "float" ? "float32" : "float64", [n, steps, classes], y),
    t: hostTensor("int64", [n, most], t),
  });
  const g = Array.from(numbersOf(outputs[result.gradients.get("y") ?? ""] as HostTensor, "gradient"));
  return {
    loss: Number(outputs[total.name]?.data[0]),
    norm: Math.sqrt(g.reduce((sum, x) => sum + x * x, 0)),
    product: g.reduce((sum, x, i) => sum + Math.cos(i) * x, 0),
  };
}

describe("ctc agrees with PyTorch", () => {
  it.each(cases)("over $steps steps of $classes classes", async (each) => {
    const { loss, norm, product } = each;
    const double = await solve(each, "double");
    expect(double.loss / loss).toBeCloseTo(1, 10);
    expect(double.norm / norm).toBeCloseTo(1, 8);
    expect(double.product / product).toBeCloseTo(1, 8);
    const single = await solve(each, "float");
    expect(single.loss / loss).toBeCloseTo(1, 5);
    expect(single.product / product).toBeCloseTo(1, 3);
    const narrow = await solve(each, "double", Math.max(...each.lengths));
    expect(narrow.loss / loss).toBeCloseTo(1, 10);
    expect(narrow.product / product).toBeCloseTo(1, 8);
  });
});

const letters = ["", "a", "b", "c"];
const steps = 12;

/** Each letter is seen for one to three steps, with noise; nothing between two letters, sometimes. */
function lines(count: number, seed: number): readonly Sample[] {
  return Array.from({ length: count }, (_, index): Sample => {
    const rng = new Rng(seed, `${index}`);
    const x = Array.from({ length: steps * 3 }, () => 0.2 * rng.normal());
    let label = "";
    for (let at = 0; ; ) {
      const letter = 1 + Math.floor(3 * rng.uniform());
      const isRepeat = label.endsWith(letters[letter] as string);
      const begin = at + Number(isRepeat || rng.uniform() < 0.5);
      const end = begin + 1 + Math.floor(3 * rng.uniform());
      if (end > steps) break;
      for (at = begin; at < end; at++) x[at * 3 + letter - 1] = 1 + (x[at * 3 + letter - 1] as number);
      label += letters[letter];
    }
    return { id: `#${index}`, inputs: { x: hostTensor("float32", [1, steps, 3], x) }, label };
  });
}

describe("a reader of lines", () => {
  const reader = build([linear(16), relu(), linear(4)], { input: [steps, 3], seed: 1 });
  const loss = { name: "ctc", charset: letters as [string, ...string[]] } as const;
  const train = (samples: readonly Sample[], more: object = {}) =>
    trainModel(
      reader,
      { loss: { ...loss, ...more }, epochs: 20, rate: 0.02, batchSize: 32 },
      { runtime: inProcessRuntime("ort-node"), session: { threads: 1 }, data: datasetOf("lines", samples) },
    );

  it("learns from texts where nobody says which step is which letter", async () => {
    const files = { readText: () => expect.fail("no file"), loadModule: () => expect.fail("no module") };
    const cer = await chooseMetric({ name: "cer", charset: letters }, files);
    const { best, before } = await trainModel(
      reader,
      { loss, epochs: 20, rate: 0.02, batchSize: 32 },
      {
        runtime: inProcessRuntime("ort-node"),
        session: { threads: 1 },
        data: datasetOf("lines", lines(256, 1)),
        validation: { data: datasetOf("others", lines(64, 2)), metric: cer },
      },
    );
    expect(before).toBeGreaterThan(60);
    expect(best?.value).toBeLessThan(8);
  });

  const first = lines(1, 1)[0] as Sample;
  it.each([
    ["xa", {}, 'label "xa": expected characters of the charset, got "x", which is none of its 4 classes.'],
    [
      "aaaaaaaaa",
      {},
      "its 9 labels do not fit: expected at most the 12 steps that the model gives, got 17 with a blank between repeats",
    ],
    [
      "ab",
      { charset: ["", "a", "b"] },
      "loss ctc: the charset does not fit: expected 4 classes (the blank and a closing space counted), got 3.",
    ],
    [
      "ab",
      { charset: undefined },
      'label is text: expected class indices, or a charset, got "ab". Give the loss a charset.',
    ],
  ] as const)("refuses %j with %j", async (label, more, message) => {
    await expect(train([{ ...first, label }], more)).rejects.toThrow(message);
  });

  it("takes class indices as labels, and names one that is the blank", async () => {
    const label = (...indices: number[]) => ({ ...first, label: hostTensor("int64", [indices.length], indices) });
    const { history } = await train([label(1, 2, 3)], { charset: undefined });
    expect(history.at(-1)?.loss).toBeLessThan(0.6 * (history[0]?.loss ?? 0));
    await expect(train([label(1, 0)])).rejects.toThrow(
      "label out of range: expected 0 to 3 without the blank 0, got 0. The model has 4 classes.",
    );
  });
});
