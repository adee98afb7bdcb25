/** @file `tersor finetune` on a folder of recordings: a network from nothing learns to tell them apart; a damaged one is named, or left out. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { encodeWave } from "../data/wave.ts";
import * as nn from "../nn/index.ts";
import { Rng } from "../util/rng.ts";

/** A tone that rises or falls, in noise: 0.2 s at 8 kHz, or a little less. */
function glide(isRising: boolean, seed: number): Uint8Array {
  const rng = new Rng(seed, "glide");
  const [start, length] = [800 + 800 * rng.uniform(), 1400 + Math.floor(200 * rng.uniform())];
  const samples = Float32Array.from({ length }, (_, i) => {
    const t = i / 8000;
    const phase = 2 * Math.PI * (start * t + (isRising ? 1 : -1) * 2000 * t * t);
    return 0.3 * Math.sin(phase) + 0.02 * rng.normal();
  });
  return encodeWave({ sampleRate: 8000, samples });
}

function folderOfSounds(): string {
  const folder = temporaryFolder();
  const layers = [nn.gru(12), nn.poolSteps("mean"), nn.linear(2)];
  writeFileSync(join(folder, "model.onnx"), encode(nn.build(layers, { input: [20, 24], seed: 2 })));
  for (const [name, isRising] of [
    ["falls", false],
    ["rises", true],
  ] as const) {
    mkdirSync(join(folder, "sounds", name), { recursive: true });
    for (let i = 0; i < 40; i++) writeFileSync(join(folder, "sounds", name, `${i}.wav`), glide(isRising, i));
  }
  return folder;
}

const options = JSON.stringify({ sampleRate: 8000, normalize: "recording" });
const command = [
  ...["finetune", "model.onnx", "--data", "sounds", "--data-options", options, "-o", "out.onnx", "--json"],
  ...["--rate", "0.02", "--epochs", "8", "--batch-size", "16", "--threads", "1"],
];

describe("finetune on recordings", () => {
  it("learns from log-mel features which class they are of", async () => {
    const { code, stdout } = await runCli(command, { cwd: folderOfSounds() });
    expect(code).toBe(0);
    const { validation, data } = JSON.parse(stdout).steps.at(-1).report;
    expect(data).toMatchObject({ name: "sounds", samples: 72 });
    expect(validation.after).toBeGreaterThan(87);
  });

  it("names a damaged one and writes nothing, or leaves it out and says so", async () => {
    const cwd = folderOfSounds();
    const damaged = join(cwd, "sounds", "rises", "7.wav");
    writeFileSync(damaged, readFileSync(damaged).subarray(0, 50));
    const before = filesIn(cwd);
    const refused = await runCli(command, { cwd });
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/rises\/7\.wav: not readable sound: its part "data" ends early/);
    expect(filesIn(cwd)).toEqual(before);
    const skipped = await runCli([...command, "--skip-bad", "--epochs", "1"], { cwd });
    expect(skipped.code).toBe(0);
    expect(JSON.stringify(JSON.parse(skipped.stdout).skipped)).toContain("rises/7.wav");
  });
});
