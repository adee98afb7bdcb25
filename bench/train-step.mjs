/**
 * @file One step of training, forward to optimizer, against eager PyTorch: the same weights, batch and optimizer, in turns.
 *
 * Usage: node --expose-gc bench/train-step.mjs [--cases TEXT,…] [--threads 1,2] [--rounds N] [--steps N] [--memory N] [--no-web] [--dist FOLDER] [--profile]
 * Needs `npm run build` (or another build in FOLDER) and `bench/setup-python.sh`. First the losses of three steps are compared with PyTorch's and
 * with onnxruntime-web's; then rounds of --steps steps each are timed, ours and PyTorch's in turns. --memory: steps after which memory
 * is compared. --profile prints where ONNX Runtime spends the time instead. Exit code 1 when a bound is missed.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { markdown, median } from "./measure.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: args } = parseArgs({
  options: {
    cases: { type: "string" },
    threads: { type: "string", default: "1,2" },
    rounds: { type: "string", default: "7" },
    steps: { type: "string", default: "4" },
    memory: { type: "string", default: "0" },
    web: { type: "boolean", default: true },
    dist: { type: "string", default: join(root, "dist") },
    profile: { type: "boolean", default: false },
  },
  allowNegative: true,
});
const from = (path) => import(pathToFileURL(join(resolve(args.dist), path)).href);
const nn = await from("nn/index.js");
const { trainingStep } = await from("train/step-graph.js");
const { trainOptions } = await from("train/options.js");
const { optimizers } = await from("train/optimizer.js");
const { chooseParameters } = await from("train/parameters.js");
const { openModel } = await from("evaluate/open-model.js");
const { hostTensor } = await from("tensor/host-tensor.js");
const { ortNode } = await from("runtime/ort-node.js");
const { ortWeb } = await from("runtime/ort-web.js");
const { uniform } = await from("util/rng.js");

const relu6 = { kind: "relu6", build: ({ op }, x) => op.Clip(x, 0, 6) };
const bare = { bias: false };
const normed = (conv) => [conv, nn.batchNorm(), nn.relu()];
const around = { ...bare, padding: 1 };
const inverted = (inputs, outputs, stride) => [
  ...[nn.conv2d(6 * inputs, 1, bare), nn.batchNorm(), relu6],
  ...[nn.depthwiseConv2d(3, { ...around, stride }), nn.batchNorm(), relu6],
  ...[nn.conv2d(outputs, 1, bare), nn.batchNorm()],
];

/** `bound`: our milliseconds by PyTorch's at one thread, at most. */
const cases = {
  cnn: {
    what: "MNIST CNN 32-64, b64, momentum",
    bound: 0.9,
    batch: 64,
    input: [1, 28, 28],
    layers: [
      ...[nn.conv2d(32, 3, { padding: 1 }), nn.relu(), nn.maxPool(2)],
      ...[nn.conv2d(64, 3, { padding: 1 }), nn.relu(), nn.maxPool(2)],
      ...[nn.flatten(), nn.linear(10)],
    ],
  },
  conv_block: {
    what: "convolutions, BN in training, depthwise, b32, 32 × 32, momentum",
    bound: 1.2,
    batch: 32,
    input: [3, 32, 32],
    layers: [
      ...normed(nn.conv2d(64, 3, around)),
      nn.residual([...normed(nn.conv2d(64, 3, around)), nn.conv2d(64, 3, around), nn.batchNorm()]),
      nn.relu(),
      ...normed(nn.conv2d(128, 3, { ...around, stride: 2 })),
      ...normed(nn.depthwiseConv2d(3, around)),
      ...normed(nn.conv2d(128, 1, bare)),
      ...[nn.globalAvgPool(), nn.flatten(), nn.linear(10)],
    ],
  },
  transformer: {
    what: "transformer block d384 h6 T128, b16, Adam",
    bound: 1.1,
    batch: 16,
    input: [128],
    vocabulary: 1000,
    optimizer: "adam",
    layers: [
      nn.embedding(1000, 384),
      nn.transformerEncoderBlock({ heads: 6 }),
      ...[nn.poolSteps("mean"), nn.linear(10)],
    ],
  },
  lstm: {
    what: "LSTM 28 steps, hidden 128, b64, momentum",
    bound: 1,
    batch: 64,
    input: [28, 28],
    layers: [nn.lstm(128, { give: "last" }), nn.linear(10)],
  },
  mobilenet: {
    what: "4 MobileNetV2 blocks, 56 × 56, b16, momentum",
    bound: 1.2,
    batch: 16,
    input: [24, 56, 56],
    layers: [
      nn.residual(inverted(24, 24, 1)),
      nn.sequential(inverted(24, 32, 2)),
      nn.residual(inverted(32, 32, 1)),
      nn.sequential(inverted(32, 64, 2)),
      ...[nn.globalAvgPool(), nn.flatten(), nn.linear(10)],
    ],
  },
  mlp: {
    what: "MLP of 25 M parameters, b64, momentum",
    bound: 1.3,
    batch: 64,
    input: [2048],
    layers: [...Array.from({ length: 6 }, () => [nn.linear(2048), nn.relu()]).flat(), nn.linear(10)],
  },
};

/** Milliseconds between turns. */
const PAUSE = 300;

const RATE = { adam: 1e-3, momentum: 0.01 };
const folder = mkdtempSync(join(tmpdir(), "tersor-train-"));
const peer = spawn(join(root, ".venv", "bin", "python"), [join(root, "bench", "peers", "train_torch.py")], {
  stdio: ["pipe", "pipe", "inherit"],
});
const answers = createInterface({ input: peer.stdout })[Symbol.asyncIterator]();
async function ask(...job) {
  peer.stdin.write(`${job.join(" ")}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error("train_torch.py: ended before it answered");
  return JSON.parse(value);
}

/** The model, its first weights and a batch, here and as files for PyTorch. */
function prepare(name) {
  const { batch, input, layers, vocabulary, optimizer = "momentum" } = cases[name];
  const model = nn.build(layers, { input, dtype: vocabulary ? "int64" : "float32", seed: 1 });
  const dims = [batch, ...input];
  const draw = (i) => (vocabulary ? Math.floor(uniform(2, 0, i) * vocabulary) : uniform(2, 0, i) * 2 - 1);
  const values = (count, one) => Float64Array.from({ length: count }, (_, i) => one(i));
  const size = dims.reduce((a, b) => a * b, 1);
  const x = hostTensor(vocabulary ? "int64" : "float32", dims, values(size, draw));
  const labels = hostTensor(
    "int64",
    [batch],
    values(batch, (i) => Math.floor(uniform(3, 0, i) * 10)),
  );
  const settings = trainOptions.parse({ loss: "cross-entropy", optimizer });
  const parameters = chooseParameters(model, {});
  const step = trainingStep(model, { ...settings, losses: settings.loss, parameters, shapes: { x: dims } });
  const initial = () =>
    Object.fromEntries(
      step.state.map(({ name: key, dims: shape, from: source }) => {
        const tensor = source === undefined ? undefined : model.graph.find(source).tensor;
        const count = shape.reduce((a, b) => a * b, 1);
        const data = tensor ? tensor.toTypedArray().slice() : new Float32Array(count);
        return [key, { dtype: "float32", dims: shape, data }];
      }),
    );
  const place = join(folder, name);
  writeCase(place, { first: initial(), step, x, labels, optimizer });
  return { name, place, step, initial, x, labels, settings };
}

/** The case as files for PyTorch. */
function writeCase(place, { first, step, x, labels, optimizer }) {
  mkdirSync(place);
  const write = (tensor, file) => {
    writeFileSync(
      join(place, file),
      new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength),
    );
    return { file, dims: tensor.dims, dtype: tensor.dtype };
  };
  const weights = step.state.filter(({ from: source }) => source !== undefined);
  const about = {
    weights: Object.fromEntries(weights.map(({ name: key }, i) => [key, write(first[key], `w${i}`)])),
    x: write(x, "x"),
    labels: write(labels, "labels"),
    optimizer,
    rate: RATE[optimizer],
  };
  writeFileSync(join(place, "case.json"), JSON.stringify(about));
}

/** Ours: steps from the first weights on. */
async function open(prepared, runtime, options) {
  const { step, initial, x, labels, settings } = prepared;
  // As `tersor finetune` opens it.
  const session = await openModel(step.model, runtime, { optimization: "basic", ...options });
  await runtime.slots.put(initial());
  const read = Object.fromEntries(step.state.map(({ name }) => [name, name]));
  const write = Object.fromEntries(step.state.map(({ name, next }) => [next, name]));
  const rule = optimizers[settings.optimizer.name];
  let count = 0;
  const run = async (steps) => {
    const [losses, ms] = [[], []];
    const before = process.cpuUsage();
    for (let i = 0; i < steps; i++) {
      const start = performance.now();
      const scalars = rule.scalars(++count, RATE[settings.optimizer.name], settings.optimizer);
      const feeds = { x, ...Object.fromEntries(step.targets.map((target) => [target.name, labels])) };
      for (const [key, name] of step.scalars) feeds[name] = hostTensor("float32", [], [scalars[key] ?? 0]);
      const outputs = await session.run(feeds, [step.loss], { read, write });
      losses.push(Number(outputs[step.loss].data[0]));
      ms.push(performance.now() - start);
    }
    const { user, system } = process.cpuUsage(before);
    return { losses, ms, cpu: (user + system) / 1000 / steps };
  };
  return { run, session };
}

const apart = (a, b) => Math.max(...a.map((value, i) => Math.abs(value - b[i]) / Math.max(Math.abs(b[i]), 1e-6)));

async function agreement(prepared) {
  await ask("load", prepared.name, prepared.place);
  const native = await open(prepared, ortNode(), { threads: 1 });
  const ours = (await native.run(3)).losses;
  await native.session.release();
  const torch = (await ask("steps", 1, 3)).losses;
  if (!args.web) return [apart(ours, torch)];
  const web = await open(prepared, ortWeb(), { threads: 1 });
  const { losses } = await web.run(3);
  await web.session.release();
  return [apart(ours, torch), apart(losses, ours)];
}

/** Medians of a step, ours and PyTorch's, and of their ratio by rounds: wall and processor time. */
async function compare(prepared, threads) {
  await ask("load", prepared.name, prepared.place);
  const ours = await open(prepared, ortNode(), { threads });
  await ours.run(2);
  await ask("steps", threads, 2);
  const rounds = [];
  for (let round = 0; round < Number(args.rounds); round++) {
    // Threads of both wait awake for a while after their work: whoever is next would share the processor with them.
    await setTimeout(PAUSE);
    const mine = await ours.run(Number(args.steps));
    await setTimeout(PAUSE);
    rounds.push([mine, await ask("steps", threads, args.steps)]);
  }
  await ours.session.release();
  const of = (pick) => median(rounds.map(pick));
  return {
    ours: of(([a]) => median(a.ms)),
    torch: of(([, b]) => median(b.ms)),
    ratio: of(([a, b]) => median(a.ms) / median(b.ms)),
    cpu: of(([a, b]) => a.cpu / b.cpu),
  };
}

/** Resident MiB after a third of the steps, and after all of them; and the state's own. */
async function memory(prepared) {
  const ours = await open(prepared, ortNode(), { threads: 1 });
  const total = Number(args.memory);
  const resident = () => {
    globalThis.gc?.();
    return process.memoryUsage().rss / 2 ** 20;
  };
  await ours.run(Math.round(total / 3));
  const early = resident();
  await ours.run(total - Math.round(total / 3));
  const late = resident();
  await ours.session.release();
  const floats = prepared.step.state.reduce((sum, { dims }) => sum + dims.reduce((a, b) => a * b, 1), 0);
  return [early, late, (floats * 4) / 2 ** 20].map((each) => each.toFixed(0));
}

/** Milliseconds a step by operator. */
async function profile(prepared) {
  const session = { enable_profiling: "1" };
  const prefix = join(folder, `${prepared.name}-profile`);
  const ort = (await import("onnxruntime-node")).default;
  const { encodeModel } = await from("ir/serde/encode-model.js");
  const { writeTo } = await from("proto/write.js");
  const { MemorySink } = await from("util/bytes.js");
  const sink = new MemorySink();
  writeTo(encodeModel(prepared.step.model, { external: "never" }).model, sink);
  const options = { intraOpNumThreads: 1, enableProfiling: true, profileFilePrefix: prefix, extra: { session } };
  const native = await ort.InferenceSession.create(sink.bytes(), options);
  const scalars = optimizers[prepared.settings.optimizer.name].scalars(1, 0.01, prepared.settings.optimizer);
  const feeds = {};
  const put = (name, { dtype, dims, data }) => {
    feeds[name] = new ort.Tensor(dtype, data, dims);
  };
  put("x", prepared.x);
  for (const { name } of prepared.step.targets) put(name, prepared.labels);
  for (const [name, tensor] of Object.entries(prepared.initial())) put(name, tensor);
  for (const [key, name] of prepared.step.scalars) put(name, hostTensor("float32", [], [scalars[key] ?? 0]));
  const runs = 5;
  for (let i = 0; i < runs; i++) await native.run(feeds);
  native.endProfiling();
  const { readdirSync } = await import("node:fs");
  const file = readdirSync(folder).find((each) => each.startsWith(`${prepared.name}-profile`));
  const events = JSON.parse(readFileSync(join(folder, file), "utf8"));
  const [byOperator, byNode] = [new Map(), new Map()];
  for (const { cat, name, dur, args: about } of events) {
    if (cat !== "Node" || !name.endsWith("_kernel_time")) continue;
    const dims = (list) => (list ?? []).map((each) => Object.values(each)[0].join("x")).join(" ");
    const add = (map, key) =>
      map.set(key, [(map.get(key)?.[0] ?? 0) + dur / 1000 / runs, (map.get(key)?.[1] ?? 0) + 1 / runs]);
    add(byOperator, about.op_name);
    add(byNode, `${about.op_name} ${dims(about.input_type_shape)} -> ${dims(about.output_type_shape)}`);
  }
  for (const map of [byOperator, byNode]) {
    const top = [...map].sort(([, [a]], [, [b]]) => b - a).slice(0, 22);
    console.log(
      top
        .map(([key, [ms, count]]) => `${ms.toFixed(2).padStart(8)} ms ${count.toFixed(0).padStart(4)} ${key}`)
        .join("\n"),
      "\n",
    );
  }
}

const chosen = Object.keys(cases).filter(
  (name) => !args.cases || args.cases.split(",").some((text) => name.includes(text)),
);
let missed = false;
const verdict = (kept) => {
  missed ||= !kept;
  return kept ? "kept" : "MISSED";
};
try {
  const threads = args.threads.split(",").map(Number);
  const rows = [];
  for (const name of chosen) {
    const prepared = prepare(name);
    const { what, bound } = cases[name];
    if (args.profile) {
      console.log(`${what}: ${prepared.step.model.graph.nodes.length} nodes`);
      await profile(prepared);
      continue;
    }
    const [torch, web] = await agreement(prepared);
    const times = [];
    for (const each of threads) times.push(await compare(prepared, each));
    const one = times[threads.indexOf(1)];
    const kept = torch <= 1e-4 && (web === undefined || web <= 1e-5) && (!one || one.ratio <= bound);
    const cells = times.map(
      (each) =>
        `${each.ours.toFixed(1)} / ${each.torch.toFixed(1)} = **${each.ratio.toFixed(2)}** (${each.cpu.toFixed(2)})`,
    );
    const used = Number(args.memory) > 0 ? [(await memory(prepared)).join(" → ").replace(/ → (\d+)$/, " ($1)")] : [];
    const nodes = prepared.step.model.graph.nodes.length;
    const far = [torch, web].map((each) => (each === undefined ? "" : each.toExponential(1)));
    rows.push([what, nodes, ...cells, `≤ ${bound}`, verdict(kept), ...far, ...used]);
    console.error(rows.at(-1).join(" | "));
  }
  const header = [
    "step",
    "nodes",
    ...threads.map((each) => `${each} thread${each > 1 ? "s" : ""}, ms (processor time)`),
    "bound",
    "verdict",
  ];
  const memoryHeader = Number(args.memory) > 0 ? ["MiB resident (state)"] : [];
  if (rows.length > 0) console.log(markdown([...header, "losses: PyTorch", "wasm", ...memoryHeader], rows));
} finally {
  peer.stdin.end();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = missed ? 1 : 0;
