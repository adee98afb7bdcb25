/**
 * @file Damaged samples in every format, of a fixed seed: they are read, or refused with one clear error, soon and in little memory.
 * `MUTANT=71` takes this one alone, prints how it ended, and keeps its folder.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Rng } from "../../src/util/rng.ts";
import { type DataSubject, dataSubjects, fileDamage } from "./mutants/data.ts";
import { Hands } from "./mutants/hands.ts";
import { faultOf } from "./mutants/outcome.ts";
import { pick } from "./mutants/parts.ts";

const SEED = 13;
const COUNT = 800;
const HANDS = 2;
const MAX_MS = 20_000;

const chosen = process.env.MUTANT?.split(",").map(Number);
const numbers = chosen ?? Array.from({ length: Number(process.env.MUTANTS ?? COUNT) }, (_, i) => i);

const root = mkdtempSync(join(tmpdir(), "mutant-data-"));
afterAll(() => {
  if (!chosen) rmSync(root, { recursive: true, force: true });
});

const subjects = Object.entries(dataSubjects);
const ways = Object.entries(fileDamage);

/** Writes the files of a case into an empty folder and gives the arguments. */
function lay(number: number, folder: string): { readonly args: readonly string[]; readonly what: string } {
  const rng = new Rng(SEED, `data ${number}`);
  // Every kind in turn.
  const [name, { files, model, data }] = subjects[number % subjects.length] as [string, DataSubject];
  const [damage, edit] = pick(ways, rng) as (typeof ways)[number];
  rmSync(folder, { recursive: true, force: true });
  for (const [i, [path, bytes]] of Object.entries({ ...files, "m.onnx": model }).entries()) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), i === 0 && bytes.length > 0 ? edit(bytes, rng) : bytes);
  }
  const skip = rng.int(4) ? [] : ["--skip-bad"];
  const args = ["compare", "m.onnx", "m.onnx", "--runs", "0", "--no-compressed", ...skip, "--data", ...data];
  return { args, what: `${name}: ${damage}` };
}

it(`${numbers.length} damaged files of data are read or refused`, { timeout: 600_000 }, async () => {
  const faults: string[] = [];
  const tally = { refused: 0, read: 0 };
  const left = [...numbers];
  const work = async (hand: number) => {
    const hands = new Hands(MAX_MS);
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const folder = join(root, chosen ? `${next}` : `hand${hand}`);
      const { args, what } = lay(next, folder);
      const outcome = await hands.do({ folder, argv: args });
      const told = `case ${next} of seed ${SEED} (${what}): tersor ${args.join(" ")}
  again: MUTANT=${next} npx vitest run --project attack test/attack/mutant-data.test.ts`;
      const fault = faultOf(outcome);
      if (fault !== undefined) faults.push(`${told}\n  ${fault}`);
      if (fault !== undefined && !outcome.error) hands.end();
      tally[outcome.code === undefined ? "refused" : "read"]++;
      if (chosen) process.stdout.write(`${told}\n  ${folder}\n  ${JSON.stringify(outcome)}\n`);
    }
    hands.end();
  };
  await Promise.all(Array.from({ length: HANDS }, (_, hand) => work(hand)));
  expect(faults.length, `${faults.length} faults:\n${faults.join("\n\n")}`).toBe(0);
  if (chosen) return;
  expect(tally.refused).toBeGreaterThan(numbers.length / 4);
  expect(tally.read).toBeGreaterThan(numbers.length / 8);
});
