/**
 * @file Commands that end at some moment, of a fixed seed: by Ctrl-C or by being killed. What they wrote is whole or not there, training goes on
 * to the same bytes, and the next run leaves nothing of the last.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Rng } from "../../src/util/rng.ts";
import { type CliResult, filesIn } from "../cli.ts";
import { folderWith, isClear, tersor } from "./attack.ts";

const SEED = 17;
/** Interruptions of each command. */
const TIMES = 5;

const kws = new Uint8Array(readFileSync(new URL("../fixtures/models/mlperf_kws_dscnn.onnx", import.meta.url)));
const values = new Rng(SEED, "samples");
const mfcc = Array.from({ length: 8 }, (_, i) =>
  JSON.stringify({ inputs: { mfcc: Array.from({ length: 490 }, () => values.normal()) }, label: i % 12 }),
).join("\n");

const folder = () => folderWith({ "k.onnx": kws, "k.jsonl": mfcc });
const hashOf = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
const leftovers = (cwd: string) => filesIn(cwd).filter((name) => /^\.tersor-|tmp|partial/.test(name));

/** Runs a command and sends it a signal when a share of its usual time is over. */
async function interruptedAt(
  cwd: string,
  args: readonly string[],
  at: { readonly ms: number; readonly signal: NodeJS.Signals },
): Promise<CliResult> {
  let timer: NodeJS.Timeout | undefined;
  const result = await tersor(cwd, args, {
    onStart: (kill) => {
      timer = setTimeout(() => kill(at.signal), at.ms);
    },
  });
  clearTimeout(timer);
  return result;
}

async function timed(cwd: string, args: readonly string[]): Promise<number> {
  const start = performance.now();
  expect(await tersor(cwd, args)).toMatchObject({ code: 0 });
  return performance.now() - start;
}

/** Moments of a command that takes so long, each with a signal. */
function moments(name: string, ms: number): { readonly ms: number; readonly signal: NodeJS.Signals }[] {
  const rng = new Rng(SEED, name);
  return Array.from({ length: TIMES }, (_, i) => ({
    ms: ms * (0.1 + 0.95 * rng.uniform()),
    signal: i % 2 ? "SIGKILL" : "SIGINT",
  }));
}

/** What a command says that a signal ended: nothing, or that it was interrupted. It may also have been done before. */
function expectEnded(result: CliResult, told: string): void {
  if (result.code === null) return;
  expect([0, 130], told).toContain(result.code);
  if (result.code === 130) expect(isClear(result), `${told}: ${result.stderr}`).toBe(true);
}

const steady = ["--threads", "1", "--seed", "3"];

describe("training that is interrupted", () => {
  const data = ["--data", "d.jsonl", "--batch-size", "4", "--epochs", "30", ...steady];
  const trainings: Readonly<Record<string, readonly string[]>> = {
    finetune: ["finetune", "m.onnx", "-o", "o.onnx", ...data],
    distill: ["distill", "m.onnx", "--teacher", "m.onnx", "-o", "o.onnx", "--cache", "answers.npz", ...data],
  };
  for (const [name, args] of Object.entries(trainings))
    it(`goes on to the same bytes: ${name}`, { timeout: 300_000 }, async () => {
      const whole = folder();
      const ms = await timed(whole, args);
      const expected = hashOf(join(whole, "o.onnx"));
      for (const [i, moment] of moments(name, ms).entries()) {
        const told = `${name} ${i} of seed ${SEED}: ${moment.signal} after ${Math.round(moment.ms)} ms`;
        const cwd = folder();
        const kept = [...args, "--checkpoint", "c.npz"];
        // Twice: what was resumed is interrupted as well.
        for (const share of [1, 0.7]) {
          const going = existsSync(join(cwd, "c.npz")) ? [...kept, "--resume"] : kept;
          expectEnded(await interruptedAt(cwd, going, { ...moment, ms: moment.ms * share }), told);
        }
        const resume = existsSync(join(cwd, "c.npz")) ? ["--resume"] : [];
        expect(await tersor(cwd, [...kept, ...resume]), told).toMatchObject({ code: 0 });
        expect(hashOf(join(cwd, "o.onnx")), told).toBe(expected);
        expect(leftovers(cwd), told).toEqual([]);
      }
    });
});

describe("a command that is interrupted", () => {
  const commands: Readonly<Record<string, readonly string[]>> = {
    quantize: ["quantize", "k.onnx", "-o", "o.onnx"],
    "quantize to a data file": ["quantize", "k.onnx", "-o", "o.onnx", "--dtype", "float16", "--external-data"],
    "quantize --calibrate": [
      "quantize",
      "k.onnx",
      "-o",
      "o.onnx",
      "--calibrate",
      "k.jsonl",
      "--as-asked",
      "--no-fit-costs",
    ],
    prune: ["prune", "k.onnx", "-o", "o.onnx", "--ratio", "0.3", "--calibrate", "k.jsonl"],
  };
  for (const [name, args] of Object.entries(commands))
    it(`leaves what was there, or all of the new: ${name}`, { timeout: 300_000 }, async () => {
      const whole = folder();
      const ms = await timed(whole, args);
      const made = filesIn(whole).filter((file) => file.startsWith("o.onnx"));
      const models = made.filter((file) => !file.endsWith(".json"));
      const expected = Object.fromEntries(models.map((file) => [file, hashOf(join(whole, file))]));
      for (const [i, moment] of moments(name, ms).entries()) {
        const told = `${name} ${i} of seed ${SEED}: ${moment.signal} after ${Math.round(moment.ms)} ms`;
        const cwd = folder();
        // Every other time there is an older result in the place.
        if (i % 4 > 1) writeFileSync(join(cwd, "o.onnx"), kws);
        const before = filesIn(cwd);
        const result = await interruptedAt(cwd, args, moment);
        expectEnded(result, told);
        const added = filesIn(cwd).filter((file) => !before.includes(file));
        const isDone = existsSync(join(cwd, "o.onnx")) && hashOf(join(cwd, "o.onnx")) === expected["o.onnx"];
        if (isDone) for (const file of models) expect(hashOf(join(cwd, file)), told).toBe(expected[file]);
        else if (i % 4 > 1) expect(Buffer.compare(readFileSync(join(cwd, "o.onnx")), kws), told).toBe(0);
        if (result.code === 130) expect(added, told).toEqual([]);
        expect(await tersor(cwd, args), told).toMatchObject({ code: 0 });
        for (const file of models) expect(hashOf(join(cwd, file)), told).toBe(expected[file]);
        expect(leftovers(cwd), told).toEqual([]);
        expect(filesIn(cwd), told).toEqual(filesIn(whole));
      }
    });
});
