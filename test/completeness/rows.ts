/** @file What is tried, out of the tables of the product: a value that is added there is tried here, and one without a row fails a test. */
import { rangeNames } from "../../src/calibrate/range/index.ts";
import { criterionNames } from "../../src/prune/criteria/index.ts";
import { weightCriteria } from "../../src/prune/weights/saliency.ts";
import { dynamicDTypes } from "../../src/quantize/dynamic/options.ts";
import {
  formats,
  methodNames,
  resolveSpec,
  roundings,
  specOptions,
  weightDTypes,
} from "../../src/quantize/grid/spec.ts";
import { roundingMethodNames } from "../../src/quantize/learned/reconstruct/index.ts";
import { activationDTypes, staticMethods } from "../../src/quantize/static/options.ts";
import { equalizers } from "../../src/recipe/steps/equalize.ts";
import { targets } from "../../src/targets/targets.ts";

type Value = string | number | boolean | undefined;

/** One value for each factor. */
export type Row = Readonly<Record<string, Value>>;

/** A kind of step with the factors that change what it writes. */
export interface Plan {
  readonly name: string;
  readonly step: string;
  readonly factors: Readonly<Record<string, readonly Value[]>>;
  /** Options that each row has. */
  readonly fixed?: Readonly<Record<string, unknown>>;
  /** Whether values go together; what the product refuses is no row. */
  fits(row: Row): boolean;
  /** Options that need data are given it under this name. */
  readonly data?: string;
  /** A step before it, written to a file of its own. */
  before?(row: Row): Readonly<Record<string, unknown>> | undefined;
}

const targetNames = targets.map(({ name }) => name);
/** Needs samples, so the bench of data. */
const isLearned = (method: Value) => (roundingMethodNames as readonly Value[]).includes(method);

function isSpec(row: Row): boolean {
  const { dtype, granularity, scale, rounding, method, format, symmetric } = row;
  if (isLearned(method) && rounding !== "nearest") return false;
  try {
    const spec = { dtype, granularity, scale, rounding, format, symmetric, method: isLearned(method) ? "rtn" : method };
    resolveSpec(specOptions.parse(spec), "row");
    return !(isLearned(method) && (format === "codebook" || String(dtype).includes("float")));
  } catch {
    return false;
  }
}

const dataCriteria = new Set(["wanda", "taylor", "fisher", "obd", "activation-norm", "sparsegpt", "influence", "sqnr"]);

export const plans: readonly Plan[] = [
  {
    name: "weights",
    step: "quantize",
    factors: {
      dtype: weightDTypes,
      method: [...methodNames, ...roundingMethodNames],
      granularity: ["channel", "model", "tensor", "group:32", "group:16"],
      scale: ["absmax", "mse", "percentile:99"],
      rounding: roundings,
      format: formats,
      symmetric: [undefined, true, false],
      minElements: [256, 1],
      sequential: [false, true],
    },
    fixed: { mode: "weights", iterations: 4, calibrationSamples: 4 },
    data: "calibrate",
    fits: (row) =>
      isSpec(row) &&
      !(row.sequential && isLearned(row.method)) &&
      !(row.format === "matmul-nbits" && !String(row.granularity).startsWith("group")),
  },
  {
    name: "dynamic",
    step: "quantize",
    factors: {
      dtype: [undefined, ...dynamicDTypes],
      granularity: ["channel", "tensor"],
      target: targetNames,
      scale: ["absmax", "mse"],
      depthwise: [false, true],
      activationProducts: [false, true],
      reduceRange: [undefined, true, false],
      minElements: [256, 1],
    },
    fixed: { mode: "dynamic" },
    fits: () => true,
  },
  {
    name: "static",
    step: "quantize",
    factors: {
      target: targetNames.filter((name) => name !== "web-webgpu"),
      activations: [undefined, ...activationDTypes],
      dtype: [undefined, "int8", "uint8", "int4", "int2"],
      granularity: ["channel", "tensor"],
      method: [...staticMethods, ...roundingMethodNames],
      scale: [undefined, "absmax", "mse"],
      ranges: rangeNames,
      symmetric: [false, true],
      correctBias: [false, true],
    },
    fixed: { mode: "static", iterations: 4, calibrationSamples: 4 },
    data: "calibrate",
    fits: ({ method, dtype }) => !isLearned(method) || dtype === "int4" || dtype === "int2",
  },
  {
    name: "float16",
    step: "quantize",
    factors: { keepIo: [true, false], blocklist: ["", "Conv", "MatMul,Gemm", "LSTM"] },
    fixed: { mode: "float16" },
    fits: () => true,
  },
  {
    name: "equalized",
    step: "quantize",
    fixed: { mode: "weights" },
    factors: { equalize: equalizers, dtype: ["int8", "int4"], insertMul: [false, true] },
    before: ({ equalize, insertMul }) => ({ equalize: { equalize, insertMul, calibrationSamples: 4 } }),
    fits: () => true,
  },
  {
    name: "channels",
    step: "prune",
    factors: {
      structure: ["channels", "heads"],
      criterion: criterionNames,
      ranking: ["layer", "global", "sensitivity"],
      recover: ["none", "mean", "least-squares"],
      by: ["channels", "params", "macs"],
      reduce: ["mean", "sum", "max"],
      normalize: [undefined, "none", "mean", "lamp"],
      ratio: [0.25, 0.5],
      roundTo: [1, 8],
    },
    fixed: { compressed: false, calibrationSamples: 4, sensitivityRatios: [0.5] },
    data: "calibrate",
    fits: ({ structure, ranking }) => structure === "channels" || ranking !== "sensitivity",
  },
  {
    name: "by time",
    step: "prune",
    factors: { by: ["latency"], ratio: [0.25] },
    fixed: { structure: "channels", compressed: false },
    // What takes long: the clock runs on every layer. The cut is checked as any other.
    fits: ({ model }) => model === undefined || model === "ds-cnn" || model === "autoencoder",
  },
  {
    name: "blocks",
    step: "prune",
    factors: { criterion: ["influence", "sqnr", "random"], by: ["channels", "params", "macs"], ratio: [0.2, 0.4] },
    fixed: { structure: "blocks", compressed: false, calibrationSamples: 4 },
    data: "calibrate",
    fits: () => true,
  },
  {
    name: "zeros",
    step: "prune",
    factors: {
      structure: ["weights", "2:4", "1:4", "block:4x4"],
      criterion: Object.keys(weightCriteria),
      ranking: [undefined, "layer", "global"],
      ratio: [0.5, 0.9],
      normalize: [undefined, "none", "mean", "lamp"],
    },
    fixed: { compressed: false, calibrationSamples: 4 },
    data: "calibrate",
    fits: () => true,
  },
  {
    name: "sparse",
    step: "sparse",
    factors: { target: targets.filter(({ sparseInitializers }) => sparseInitializers).map(({ name }) => name) },
    fixed: { compressed: false },
    before: () => ({ prune: { structure: "weights", ratio: 0.9, compressed: false } }),
    fits: () => true,
  },
];

/** Steps of the product that no row has, and why. */
export const otherSteps: Readonly<Record<string, string>> = {
  simplify: "it is exact: the passes' own tests compare outputs; each model goes through it first",
  equalize: "it moves scales on purpose: outputs are compared in its tests; here it comes before quantize",
  shrink: "made of prune, or of fresh weights",
  finetune: "every weight changes, as is asked for",
  distill: "every weight changes, as is asked for",
  compare: "writes no model",
};

/** Options whose names are choices and that are not varied, and why. */
export const otherOptions: Readonly<Record<string, string>> = {
  runtime: "where it is run, not what is written",
  optimization: "how it is run, not what is written",
  gradients: "what a criterion differentiates: any choice of channels is checked alike",
  schedule: "several prunings, each as one",
};

/** Whether a row of pruning looks at data. */
export const needsData = ({ criterion, recover, ranking }: Row): boolean =>
  dataCriteria.has(String(criterion)) || (recover !== undefined && recover !== "none") || ranking === "sensitivity";

/** The options of a row as a recipe has them. */
export function optionsOf({ fixed = {}, step }: Plan, row: Row): Record<string, unknown> {
  const { model: _, equalize: __, insertMul: ___, ...own } = row;
  const { structure } = { ...fixed, ...own } as { structure?: string };
  const given = Object.entries({ ...fixed, ...own }).filter(([key, value]) => {
    if (value === undefined || value === "") return false;
    return !(step === "prune" && key === "ratio" && /^\d+:\d+$/.test(structure ?? ""));
  });
  return Object.fromEntries(given);
}

/** Few rows that hold every pair of values of two factors that fits. Greedy: the same rows each time. */
export function pairwise(factors: Plan["factors"], fits: (row: Row) => boolean): Row[] {
  const names = Object.keys(factors);
  const key = (a: string, x: Value, b: string, y: Value) => `${a}=${x}&${b}=${y}`;
  const open = new Set<string>();
  names.forEach((a, i) => {
    for (const b of names.slice(i + 1))
      for (const x of factors[a] ?? []) for (const y of factors[b] ?? []) open.add(key(a, x, b, y));
  });
  const pairsOf = (row: Row) => names.flatMap((a, i) => names.slice(i + 1).map((b) => key(a, row[a], b, row[b])));
  let state = 1;
  const random = (count: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % count;
  };
  const rows: Row[] = [];
  for (const pair of [...open]) {
    if (!open.has(pair)) continue;
    const [one = "", two = ""] = pair.split("&");
    let best: { row: Row; gain: number } | undefined;
    for (let trial = 0; trial < 40; trial++) {
      const row: Record<string, Value> = {};
      for (const name of names) {
        const values = factors[name] ?? [];
        row[name] = values[random(values.length)];
      }
      for (const fixed of [one, two]) {
        const [name = "", text] = fixed.split("=");
        row[name] = factors[name]?.find((value) => String(value) === text);
      }
      if (!fits(row)) continue;
      const gain = pairsOf(row).filter((each) => open.has(each)).length;
      if (gain > (best?.gain ?? 0)) best = { row, gain };
    }
    if (!best) continue;
    rows.push(best.row);
    for (const each of pairsOf(best.row)) open.delete(each);
  }
  return rows;
}

/** Every combination that fits. */
export function* product(factors: Plan["factors"], fits: (row: Row) => boolean): Iterable<Row> {
  const names = Object.keys(factors);
  const total = names.reduce((count, name) => count * (factors[name]?.length ?? 1), 1);
  for (let i = 0; i < total; i++) {
    let rest = i;
    const row = Object.fromEntries(
      names.map((name) => {
        const values = factors[name] ?? [];
        const value = values[rest % values.length];
        rest = Math.floor(rest / values.length);
        return [name, value];
      }),
    );
    if (fits(row)) yield row;
  }
}
