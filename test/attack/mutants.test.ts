/**
 * @file 2,000 mutants of small models, of a fixed seed, each through a command as a user would run it: all end, soon and in little memory, in
 * a result that loads or in one clear error. `MUTANT=734,735` takes these alone, prints how they ended, and keeps their folders;
 * `MUTANTS=9000` takes more of them.
 */
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Hands, type Outcome } from "./mutants/hands.ts";
import { lay, type Mutant, mutant } from "./mutants/mutant.ts";
import { faultOf } from "./mutants/outcome.ts";

const SEED = 11;
const COUNT = 2000;
const HANDS = 2;
/** Of one command, on a machine that has other things to do. */
const MAX_MS = 30_000;

const chosen = process.env.MUTANT?.split(",").map(Number);
const numbers = chosen ?? Array.from({ length: Number(process.env.MUTANTS ?? COUNT) }, (_, i) => i);

const root = mkdtempSync(join(tmpdir(), "mutants-"));
afterAll(() => {
  if (!chosen) rmSync(root, { recursive: true, force: true });
});

it(`${numbers.length} mutants end in a result that loads or in one clear error`, { timeout: 1_000_000 }, async () => {
  const faults: string[] = [];
  const tally = { refused: 0, done: 0, written: 0 };
  const left = [...numbers];
  const work = async (hand: number) => {
    const hands = new Hands(MAX_MS);
    const loader = new Hands(MAX_MS);
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const made = mutant(SEED, next);
      const folder = join(root, chosen ? `${next}` : `hand${hand}`);
      lay(folder, made);
      const outcome = await hands.do({ folder, argv: made.args });
      const fault = (await isOrtCrash(outcome, folder, loader)) ? undefined : faultOf(outcome);
      const whole = fault ?? (outcome.error ? undefined : await outputFault(folder, loader));
      if (whole !== undefined) faults.push(`${told(made)}\n  ${whole}`);
      if (fault !== undefined && !outcome.error) hands.end();
      tally[outcome.code === undefined ? "refused" : "done"]++;
      if (existsSync(join(folder, "o.onnx"))) tally.written++;
      if (chosen) process.stdout.write(`${told(made)}\n  ${folder}\n  ${JSON.stringify(outcome)}\n`);
    }
    hands.end();
    loader.end();
  };
  await Promise.all(Array.from({ length: HANDS }, (_, hand) => work(hand)));
  expect(faults.length, `${faults.length} faults:\n${faults.join("\n\n")}`).toBe(0);
  if (chosen) return;
  // Mutants that nothing takes, or that nothing refuses, would test nothing.
  expect(tally.refused).toBeGreaterThan(numbers.length / 4);
  expect(tally.done).toBeGreaterThan(numbers.length / 4);
  expect(tally.written).toBeGreaterThan(numbers.length / 10);
});

const told = ({ number, subject, damage, args }: Mutant) =>
  `mutant ${number} of seed ${SEED} (${subject.name}: ${damage.join(", ")}): tersor ${args.join(" ")}
  again: MUTANT=${number} npx vitest run --project attack test/attack/mutants.test.ts`;

/** A model that takes ONNX Runtime down wherever it is loaded says nothing about Tersor. */
async function isOrtCrash({ gone }: Outcome, folder: string, loader: Hands): Promise<boolean> {
  return gone?.includes("SIG") === true && (await loader.do({ path: join(folder, "m.onnx") })).gone !== undefined;
}

/** That what was written loads, unless what was read does not either. */
async function outputFault(folder: string, loader: Hands): Promise<string | undefined> {
  const path = join(folder, "o.onnx");
  if (!existsSync(path) || statSync(path).size === 0) return;
  const after = await loader.do({ path });
  if (!after.gone && !after.error) return;
  const before = await loader.do({ path: join(folder, "m.onnx") });
  if (before.gone || before.error) return;
  return `o.onnx does not load, m.onnx does: ${after.gone ?? after.error?.message}`;
}
