/** @file What is done to mutants: every command, in its ways. */

export interface Attempt {
  readonly args: readonly string[];
  /** How often it is taken, against the others. */
  readonly weight?: number;
}

const written = ["-o", "o.onnx"];
const onData = ["--calibrate", "d.jsonl"];
const quantize = (...args: string[]): Attempt => ({ args: ["quantize", "m.onnx", ...written, ...args] });
const prune = (...args: string[]): Attempt => ({ args: ["prune", "m.onnx", ...written, ...args] });

/** Recipes that lie beside the model. */
export const recipes: Readonly<Record<string, object>> = {
  "plan.json": {
    model: "m.onnx",
    output: "o.onnx",
    data: "d.jsonl",
    steps: [{ simplify: {} }, { prune: { ratio: 0.3 } }, { quantize: { dtype: "int8" } }, { compare: {} }],
  },
  "steps.json": {
    model: "m.onnx",
    output: "o.onnx",
    steps: [
      { simplify: {} },
      { prune: { structure: "weights", ratio: 0.5 } },
      { quantize: { mode: "dynamic", minElements: 16 } },
      { quantize: { mode: "float16" } },
    ],
  },
};

export const attempts: readonly Attempt[] = [
  { args: ["inspect", "m.onnx"], weight: 4 },
  { args: ["inspect", "m.onnx", "--layers", "--json"], weight: 3 },
  { args: ["inspect", "m.onnx", "--text"], weight: 3 },
  quantize(),
  quantize("--dtype", "int4", "--granularity", "group:16", "--min-elements", "1"),
  quantize("--dtype", "uint4", "--format", "codebook", "--min-elements", "16"),
  quantize("--dtype", "float16", "--external-data"),
  quantize("--dry-run", "--min-elements", "16"),
  quantize("--float16"),
  quantize("--float16", "--no-keep-io", ...onData),
  quantize("--dynamic", "--min-elements", "16"),
  quantize("--dynamic", "--min-elements", "1", "--depthwise", ...onData),
  quantize(...onData, "--no-fit-costs", "--as-asked"),
  quantize(...onData, "--target", "web-wasm", "--equalize", "cross-layer"),
  quantize(...onData, "--method", "gptq", "--min-elements", "16"),
  quantize(...onData, "--method", "awq", "--dtype", "int4", "--granularity", "group:16", "--sequential"),
  quantize("--method", "hqq", "--dtype", "uint4", "--granularity", "group:8", "--min-elements", "16"),
  quantize(...onData, "--method", "brecq", "--iterations", "2", "--min-elements", "16"),
  quantize("--data", "d.jsonl", "--runs", "0", "--min-sqnr", "30", "--min-elements", "16"),
  quantize("--no-simplify", "--layers", "*@int8,0@keep", "--as-asked"),
  prune("--ratio", "0.3"),
  prune("--ratio", "0.4", "--by", "macs", "--round-to", "4", "--prove"),
  prune("--ratio", "0.5", "--structure", "weights", "--sparse", "node-x64"),
  prune("--ratio", "0.3", ...onData),
  prune("--ratio", "0.3", ...onData, "--criterion", "taylor", "--recover", "mean"),
  prune("--structure", "2:4", "--criterion", "sparsegpt", ...onData),
  prune("--ratio", "0.5", "--structure", "heads", "--dry-run"),
  prune("--count", "1", "--structure", "blocks", ...onData),
  { args: ["compare", "good.onnx", "m.onnx", "--runs", "0", "--data", "d.jsonl"], weight: 2 },
  { args: ["compare", "m.onnx", "good.onnx", "--runs", "0", "--per-layer", "--samples", "2"], weight: 2 },
  { args: ["finetune", "m.onnx", ...written, "--data", "d.jsonl", "--epochs", "1", "--threads", "1"], weight: 2 },
  { args: ["distill", "m.onnx", ...written, "--teacher", "good.onnx", "--data", "d.jsonl", "--epochs", "1"] },
  { args: ["run", "plan.json", "--dry-run"], weight: 2 },
  { args: ["run", "plan.json"] },
  { args: ["run", "steps.json"] },
];
