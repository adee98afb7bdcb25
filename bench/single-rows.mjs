/**
 * @file Benches whose rows take minutes: one row a process (`--only ROW --seed N --threads N --json FILE`), and a table of many such
 * files (`--table FILE…`), so that rows can run side by side on another machine.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { batches, unbatch } from "../dist/data/batch.js";
import { datasetOf } from "../dist/data/dataset.js";
import { chooseMetric } from "../dist/evaluate/choose-metric.js";
import { inProcessRuntime } from "../dist/runtime/in-process.js";
import { markdown } from "./measure.mjs";
import { bytesOf, defaultShared, inFolder } from "./zoo.mjs";

const statistics = (values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1 || 1));
  return { mean, deviation, least: Math.min(...values), most: Math.max(...values) };
};

/** "96.1 ± 0.4 (95.8–96.6), 3 seeds": mean, sample standard deviation and range. Values that are all the same stand alone. */
export function spread(values, digits = 2) {
  const { mean, deviation, least, most } = statistics(values);
  if (least === most) return mean.toFixed(digits);
  const range = `${least.toFixed(digits)}–${most.toFixed(digits)}`;
  return `${mean.toFixed(digits)} ± ${deviation.toFixed(digits)} (${range})`;
}

/**
 * Runs the rows that the command line asks for, or prints a table of what others wrote.
 *
 * @param {Record<string, (options: {seed: number, threads: number, samples?: number, epochs?: number, shared: string, folder: string}) => Promise<object>>} rows
 *   what each gives goes into its JSON
 * @param {(runs: Map<string, object[]>) => readonly string[]} tables from the runs of each row
 */
export async function singleRows(rows, tables) {
  const { values: args, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: "string" },
      seed: { type: "string", default: "0" },
      threads: { type: "string", default: "2" },
      samples: { type: "string" },
      epochs: { type: "string" },
      json: { type: "string" },
      table: { type: "boolean", default: false },
      keep: { type: "string" },
      shared: { type: "string", default: defaultShared },
    },
  });
  if (args.table) {
    const runs = new Map();
    for (const file of positionals) {
      const run = JSON.parse(readFileSync(file, "utf8"));
      runs.set(run.row, [...(runs.get(run.row) ?? []), run]);
    }
    console.log(tables(runs).join("\n\n"));
    return;
  }
  const names = args.only === undefined ? Object.keys(rows) : [args.only];
  const number = (text) => (text === undefined ? undefined : Number(text));
  for (const row of names) {
    if (!rows[row]) throw new Error(`--only ${row}: expected one of ${Object.keys(rows).join(", ")}`);
    const [seed, threads] = [Number(args.seed), Number(args.threads)];
    const options = { seed, threads, samples: number(args.samples), epochs: number(args.epochs), shared: args.shared };
    const [start, before] = [performance.now(), process.cpuUsage()];
    const values = await inFolder(args.keep, (folder) => rows[row]({ ...options, folder }));
    const { user, system } = process.cpuUsage(before);
    const seconds = { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
    const machine = `${cpus()[0]?.model}, ${cpus().length} threads`;
    const result = {
      row,
      seed,
      threads,
      samples: options.samples,
      epochs: options.epochs,
      ...values,
      seconds,
      machine,
    };
    console.log(JSON.stringify(result));
    if (args.json === undefined) continue;
    mkdirSync(dirname(args.json), { recursive: true });
    writeFileSync(args.json, `${JSON.stringify(result)}\n`);
  }
}

/** A table whose rows are made of runs: those that no run was made of are left out. */
export function tableOf(header, rows, runs) {
  const lines = rows.flatMap(([name, cells]) => (runs.has(name) ? [cells(runs.get(name))] : []));
  return lines.length > 0 ? [markdown(header, lines)] : [];
}

/** Seconds of processor and clock, over runs. */
export function timeOf(runs) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return `${mean(runs.map(({ seconds }) => seconds.cpu)).toFixed(0)} / ${mean(runs.map(({ seconds }) => seconds.wall)).toFixed(0)}`;
}

/**
 * A metric of a model, a path or a Model, on samples in memory.
 *
 * @param {{optimization?: string, batch?: number, threads?: number}} options one thread where sums must be split alike
 */
export async function judge(model, samples, metricName, { optimization = "all", batch = 50, threads = 1 } = {}) {
  const metric = await chooseMetric(metricName, { readText: (file) => readFile(file, "utf8") });
  const score = metric.create();
  const source = typeof model === "string" ? { path: model } : bytesOf(model);
  const session = await inProcessRuntime("ort-node").create(source, { threads, optimization });
  for await (const each of batches(datasetOf("test", samples), { size: batch, pad: "split" })) {
    const outputs = unbatch(await session.run(each.inputs), each.samples.length);
    for (const [i, sample] of each.samples.entries()) score.add(outputs[i], sample);
  }
  await session.release();
  return score.value();
}
