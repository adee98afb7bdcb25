/**
 * @file Every report is true of the file: real models × methods, ways, structures, criteria and recoveries, all pairs of them. What is known to be untrue is in known.ts.
 * All combinations: bench/completeness.mjs.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { known } from "./known.ts";
import { models } from "./models.ts";
import { pairwise, plans } from "./rows.ts";
import { Bench } from "./run-row.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-completeness-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const small = models.filter(({ isLarge }) => !isLarge);
const bench = new Bench(folder);
const names = small.map(({ name }) => name);

test.each(plans.map((plan) => [plan.name, plan] as const))("%s", { timeout: 900_000 }, async (name, plan) => {
  const rows = pairwise({ model: names, ...plan.factors }, plan.fits);
  const open = new Set(known.filter((each) => each.plan === name));
  const faults: string[] = [];
  let written = 0;
  for (const row of rows) {
    const model = small.find((each) => each.name === row.model);
    if (!model) continue;
    const outcome = await bench.run(model, plan, row);
    if (outcome.refused === undefined) written++;
    for (const fault of outcome.faults) {
      const entries = known.filter((each) => each.plan === name && each.when(row) && each.fault.test(fault));
      for (const entry of entries) open.delete(entry);
      if (entries.length === 0) faults.push(`${JSON.stringify(row)}: ${fault}`);
    }
  }
  expect(kindsOf(faults)).toBe("");
  expect(
    [...open].map(({ reason }) => reason),
    "known, but not so any more: take it out of known.ts",
  ).toEqual([]);
  // Some combinations are refused, with the reason: most must not be.
  expect(written).toBeGreaterThan(rows.length * 0.8);
});

/** One of each kind, with how many there are. */
function kindsOf(faults: readonly string[]): string {
  const kinds = new Map<string, string[]>();
  for (const fault of faults) {
    const kind = fault.slice(fault.indexOf("}: ") + 3).replace(/"[^"]*"|\([^)]*\)|-?[\d.]+(e-?\d+)?/g, "*");
    kinds.set(kind, [...(kinds.get(kind) ?? []), fault]);
  }
  return [...kinds.values()].map((all) => `${all.length} × ${all[0]}`).join("\n");
}
