/**
 * @file `tersor quantize` against ONNX Runtime's Python tools and against `cp`, as whole processes, interleaved.
 *
 * Usage: node bench/quantize-speed.mjs [--models FOLDER] [--only t1|t2] [--jobs TEXT] [--rounds N] [--keep]
 * Needs `npm run build` and `bench/setup-python.sh`; makes the models first if FOLDER (default: tersor-bench in the system's
 * temporary folder) lacks them. --jobs takes the jobs whose name contains TEXT; --keep leaves the last outputs in FOLDER/out.
 * Exit code 1 when a bound of the tables below is missed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { markdown, measure, median, ratio, resourceTable } from "./measure.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cli = join(root, "dist", "bin", "tersor.js");
const python = join(root, ".venv", "bin", "python");

/** Our options, and what to compare with: a job of peers/ort_quantize.py, or (`like`) another row of ours. */
const jobs = [
  { name: "int8 tensor", options: "--dtype int8 --granularity tensor", peer: "int8" },
  { name: "int8 channel", options: "--dtype int8 --granularity channel", peer: "int8-channel" },
  { name: "int4 group 32", options: "--dtype int4 --granularity group:32", peer: "int4" },
  { name: "float16", options: "--dtype float16", peer: "float16" },
  { name: "int8 global", options: "--dtype int8 --granularity model", like: "int8 tensor" },
  { name: "int8 layer-wise", options: "--dtype int8 --granularity tensor --layers *", like: "int8 tensor" },
  { name: "int8 stochastic", options: "--dtype int8 --granularity tensor --rounding stochastic", like: "int8 tensor" },
];

/** [job, quantity, against, at most]: the promises. `cp` is `cp` of the model's files; no `against` means the number itself. */
const bounds = {
  t1: [
    ["int8 tensor", "cpu", "peer", 0.12],
    ["int8 channel", "cpu", "peer", 0.06],
    ["int4 group 32", "cpu", "peer", 0.15],
    ["int8 tensor", "peakMiB", "peer", 0.2],
    ["int8 channel", "peakMiB", "peer", 0.2],
    ["int4 group 32", "peakMiB", "peer", 0.2],
    ["int8 tensor", "cpu", "cp", 2],
    ["int8 channel", "cpu", "cp", 2],
    ["int4 group 32", "cpu", "cp", 2],
    ["int8 global", "cpu", "int8 tensor", 1.5],
    ["int8 layer-wise", "cpu", "int8 tensor", 1.5],
    ["int8 stochastic", "cpu", "int8 tensor", 1.5],
  ],
  t2: [
    ["int8 tensor", "peakMiB", undefined, 400],
    ["int8 channel", "peakMiB", undefined, 400],
  ],
};

const { values: args } = parseArgs({
  options: {
    models: { type: "string", default: join(tmpdir(), "tersor-bench") },
    only: { type: "string" },
    jobs: { type: "string", default: "" },
    rounds: { type: "string", default: "3" },
    keep: { type: "boolean", default: false },
  },
});

function commandsFor(model, files, chosen) {
  const list = [{ name: "cp", command: (out) => ["cp", ...files, out] }];
  for (const { name, options, peer } of chosen) {
    if (existsSync(cli)) {
      const flags = ["--quiet", ...options.split(" ")];
      const command = (out) => [process.execPath, cli, "quantize", model, "-o", join(out, "model.onnx"), ...flags];
      list.push({ name, command });
    }
    if (peer) {
      const script = join(root, "bench", "peers", "ort_quantize.py");
      list.push({ name: `ort ${peer}`, command: (out) => [python, script, peer, model, join(out, "model.onnx")] });
    }
  }
  return list;
}

function ratioTable(results, chosen) {
  const cp = results.get("cp");
  const rows = chosen.flatMap(({ name, peer, like }) => {
    const ours = results.get(name);
    if (!ours || ours.runs.length === 0) return [];
    const other = results.get(peer ? `ort ${peer}` : like);
    const cells = ["cpu", "wall", "peakMiB"].map((quantity) => ratio(ours, other, quantity));
    return [[name, peer ? `ort ${peer}` : like, ...[...cells, ratio(ours, cp, "cpu")].map(show)]];
  });
  return rows.length > 0 ? markdown(["ours", "against", "CPU", "wall", "peak", "CPU against cp"], rows) : "";
}

const show = (value) => (Number.isNaN(value) ? "–" : value.toPrecision(2));

function boundTable(results, list) {
  const rows = list.flatMap(([name, quantity, against, limit]) => {
    const ours = results.get(name);
    if (!ours) return [];
    const peer = jobs.find((job) => job.name === name)?.peer;
    const other = results.get(against === "peer" ? `ort ${peer}` : against);
    const value = against ? ratio(ours, other, quantity) : median(ours.runs.map((run) => run[quantity]));
    const verdict = ours.error ? "FAILED" : Number.isNaN(value) ? "not measured" : value <= limit ? "kept" : "MISSED";
    return [[name, `${quantity}${against ? ` / ${against}` : ""}`, `≤ ${limit}`, show(value), verdict]];
  });
  const missed = rows.some((row) => ["MISSED", "FAILED"].includes(row.at(-1)));
  const text = rows.length > 0 ? markdown(["ours", "quantity", "bound", "measured", "verdict"], rows) : "";
  return { text, missed };
}

async function bench(name) {
  const made = spawnSync(python, [join(root, "bench", "make-models.py"), args.models, name], { stdio: "inherit" });
  if (made.status !== 0) throw new Error("bench/make-models.py failed; was bench/setup-python.sh run?");
  const model = join(args.models, `${name}.onnx`);
  const files = readdirSync(args.models).filter((file) => [`${name}.onnx`, `${name}.onnx.data`].includes(file));
  const chosen = jobs.filter(
    (job) =>
      job.name.includes(args.jobs) || jobs.some((other) => other.like === job.name && other.name.includes(args.jobs)),
  );
  const commands = commandsFor(
    model,
    files.map((file) => join(args.models, file)),
    chosen,
  );
  const results = await measure(commands, {
    rounds: Number(args.rounds),
    outFolder: join(args.models, "out", name),
    keep: args.keep,
    log: (text) => console.error(`${name} ${text}`),
  });
  const { text, missed } = boundTable(results, bounds[name]);
  const tables = [resourceTable(results.values()), ratioTable(results, chosen), text].filter(Boolean);
  console.log(`\n## ${name}: ${args.rounds} rounds, Node ${process.version}\n\n${tables.join("\n\n")}`);
  return missed;
}

if (!existsSync(cli)) console.error("dist/bin/tersor.js is missing (npm run build): measuring the peers and cp only.");
let missed = false;
for (const name of args.only ? [args.only] : Object.keys(bounds)) missed = (await bench(name)) || missed;
process.exitCode = missed ? 1 : 0;
