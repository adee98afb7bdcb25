/**
 * @file What every model at hand becomes by default, before and after: SQNR and time against the original's, static, dynamic and pruned, in
 * node and in wasm.
 *
 * Usage: node bench/ratios.mjs [--before FOLDER] [--only TEXT] [--ways TEXT] [--rounds N] [--json FILE] [--shared FOLDER]
 * Needs `npm run build`, and for --before a built checkout of another commit. Files are made by the command line on 32 samples, and judged on
 * 8 others (6 and 2 of speech); times are medians of ratios of rounds in turns, one thread. A model that is there in --json already is not measured again.
 * Exit code 1 when a result is slower than its original and its report does not say so.
 */

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { collect } from "../dist/data/dataset.js";
import { FidelityMeter } from "../dist/evaluate/fidelity.js";
import { markdown, median } from "./measure.mjs";
import { defaultShared, inFolder, openSession, root, zoo } from "./zoo.mjs";

const { values: args } = parseArgs({
  options: {
    before: { type: "string" },
    only: { type: "string", default: "" },
    ways: { type: "string", default: "" },
    rounds: { type: "string", default: "15" },
    json: { type: "string" },
    shared: { type: "string", default: defaultShared },
  },
});

const prune = ["prune", "--ratio", "0.3", "--by", "macs", "--calibrate"];
/** Command line, and the runtime that its target is; "any" is timed in both. */
const ways = {
  "static any": { words: ["quantize", "--calibrate"], runtimes: ["ort-node", "ort-web"] },
  "static node-x64-vnni": { words: ["quantize", "--target", "node-x64-vnni", "--calibrate"], runtimes: ["ort-node"] },
  "static web-wasm": { words: ["quantize", "--target", "web-wasm", "--calibrate"], runtimes: ["ort-web"] },
  dynamic: { words: ["quantize", "--dynamic", "--calibrate"], runtimes: ["ort-node", "ort-web"] },
  pruned: { words: prune, runtimes: ["ort-node", "ort-web"] },
};

/** Samples as a module that every version reads. */
function moduleOf(samples) {
  const rows = samples.map(({ inputs }) => ({
    inputs: Object.fromEntries(
      Object.entries(inputs).map(([name, { dtype, dims, data }]) => [
        name,
        {
          dtype,
          dims,
          type: data.constructor.name,
          base64: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
        },
      ]),
    ),
  }));
  return `const rows = ${JSON.stringify(rows)};
const types = { Float32Array, BigInt64Array, Int32Array, Uint8Array, Int8Array, Uint16Array, Float64Array };
export default rows.map(({ inputs }) => ({ inputs: Object.fromEntries(Object.entries(inputs).map(([name, { dtype, dims, type, base64 }]) => {
  const bytes = Buffer.from(base64, "base64");
  return [name, { dtype, dims, data: new types[type](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)) }];
})) }));
`;
}

function make(checkout, words, model, data, out) {
  const [command, ...flags] = words;
  const line = [join(checkout, "dist", "bin", "tersor.js"), command, model, ...flags, data, "-o", out, "--force"];
  const plain = line.filter((word) => word !== "--force");
  const { status, stderr, stdout } = spawnSync(process.execPath, plain, { encoding: "utf8", timeout: 600_000 });
  const manifest = existsSync(`${out}.json`) ? JSON.parse(readFileSync(`${out}.json`, "utf8")) : undefined;
  return {
    status,
    text: stdout,
    error: status === 0 || status === 1 ? undefined : stderr.trim().split("\n").at(-1),
    manifest,
  };
}

const worst = (fidelity) => Math.min(...Object.values(fidelity).map(({ sqnr }) => sqnr));

async function sqnrOf(original, path, samples) {
  const [a, b] = [await openSession(original), await openSession(path)];
  const meter = new FidelityMeter();
  for (const { inputs } of samples) meter.add(await a.run(inputs), await b.run(inputs));
  await a.release();
  await b.release();
  return worst(meter.result());
}

/** Medians of the ratios to the first path, of rounds in which all take turns. */
async function ratiosOf(paths, samples, runtime) {
  const sessions = [];
  for (const path of paths)
    sessions.push(await openSession(runtime === "ort-web" ? new Uint8Array(readFileSync(path)) : path, { runtime }));
  const feeds = samples[0].inputs;
  const [ms] = (await sessions[0].time(feeds, 3)).slice(-1);
  const runs = Math.max(1, Math.min(20, Math.round(20 / ms)));
  const times = sessions.map(() => []);
  for (let round = -1; round < Number(args.rounds); round++)
    for (const [at, session] of sessions.entries()) {
      const taken = Math.min(...(await session.time(feeds, runs)));
      if (round >= 0) times[at].push(taken);
    }
  for (const session of sessions) await session.release();
  return times.map((own) => median(own.map((time, at) => time / times[0][at])));
}

const known = args.json && existsSync(args.json) ? JSON.parse(readFileSync(args.json, "utf8")) : {};
const versions = [...(args.before ? [["before", args.before]] : []), ["after", root]];
for (const { name, path, samples: samplesOf } of zoo(args.shared)) {
  if (!name.includes(args.only) || !existsSync(path)) continue;
  const probe = await openSession(path);
  // A recording is short.
  const count = name.includes("silero") ? 8 : 40;
  const samples = await collect(await samplesOf(probe.inputs, count));
  const [calibration, judges] = [samples.slice(0, 0.8 * count), samples.slice(0.8 * count)];
  await probe.release();
  await inFolder(undefined, async (folder) => {
    const data = join(folder, "samples.mjs");
    writeFileSync(data, moduleOf(calibration));
    for (const [way, { words, runtimes }] of Object.entries(ways)) {
      const key = `${name} ${way}`;
      if (!way.includes(args.ways) || known[key]) continue;
      const made = versions.map(([version, checkout]) => {
        const out = join(folder, `${version}.onnx`);
        return { version, out, ...make(checkout, words, path, data, out) };
      });
      const done = made.filter(({ manifest }) => manifest);
      const row = { name, way, versions: {} };
      const timed = {};
      for (const runtime of runtimes)
        timed[runtime] = await ratiosOf([path, ...done.map(({ out }) => out)], judges, runtime).catch(
          (error) => error.message,
        );
      for (const [at, { version, out, status, text }] of done.entries())
        row.versions[version] = {
          status,
          share: statSync(out).size / statSync(path).size,
          sqnr: await sqnrOf(path, out, judges).catch((error) => error.message),
          ratios: Object.fromEntries(
            runtimes.map((runtime) => [
              runtime,
              Array.isArray(timed[runtime]) ? timed[runtime][at + 1] : timed[runtime],
            ]),
          ),
          saysSlower: /slower|of float32's time|Outputs unchanged/.test(text),
        };
      for (const { version, error } of made) if (error) row.versions[version] = { error };
      known[key] = row;
      console.error(key, JSON.stringify(row.versions));
      if (args.json) writeFileSync(args.json, JSON.stringify(known, null, 1));
    }
  });
}

const number = (value, digits) => (typeof value === "number" ? value.toFixed(digits) : "–");
const both = (row, of) =>
  versions
    .map(([version]) => (row.versions[version] && !row.versions[version].error ? of(row.versions[version]) : "–"))
    .join(" → ");
console.log(
  markdown(
    [
      "model",
      "way",
      `bytes, share of the original's${args.before ? ", before → after" : ""}`,
      "SQNR dB",
      "time in node",
      "time in wasm",
    ],
    Object.values(known).map((row) => [
      row.name,
      row.way,
      both(row, ({ share }) => number(share, 2)),
      both(row, ({ sqnr }) => (sqnr === null ? "∞" : number(sqnr, 1))),
      both(row, ({ ratios }) => number(ratios["ort-node"], 2)),
      both(row, ({ ratios }) => number(ratios["ort-web"], 2)),
    ]),
  ),
);
/** Slower by more than the noise of these ratios. */
const SLOWER = 1.05;
const silent = Object.values(known).filter(
  ({ versions: { after } }) =>
    after?.ratios && !after.saysSlower && Object.values(after.ratios).some((ratio) => ratio > SLOWER),
);
for (const { name, way } of silent) console.log(`slower without a word: ${name}, ${way}`);
process.exitCode = silent.length > 0 ? 1 : 0;
