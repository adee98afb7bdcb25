/** @file Every step, and every value of every choice it gives, is in a row: a new method without one fails here. */
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import * as z from "zod";
import { bindStep } from "../../src/recipe/recipe.ts";
import type { Step } from "../../src/recipe/step.ts";
import { steps } from "../../src/recipe/steps.ts";
import { models } from "./models.ts";
import { needsData, optionsOf, otherOptions, otherSteps, type Plan, pairwise, plans, type Row } from "./rows.ts";
import { withEffect } from "./run-row.ts";

const inPlans = new Set([...plans.map(({ step }) => step), "equalize"]);

test("every step is tried, or it is said why not", () => {
  for (const { name } of steps) expect(inPlans.has(name) || Object.hasOwn(otherSteps, name), name).toBe(true);
});

/** Values of an option that is a choice; undefined for others. */
function choices(schema: unknown): readonly unknown[] | undefined {
  const {
    enum: values,
    anyOf = [],
    items,
    allOf = [],
  } = schema as { enum?: unknown[]; anyOf?: unknown[]; items?: unknown; allOf?: unknown[] };
  if (values) return values;
  const inner = [...anyOf, ...allOf, ...(items ? [items] : [])].flatMap((each) => choices(each) ?? []);
  return inner.length > 0 ? inner : undefined;
}

const isOf = (plan: Plan, { name, mode }: Step) => plan.step === name && plan.fixed?.mode === mode;

const tried = (step: Step, option: string): Set<unknown> =>
  new Set(
    plans.flatMap((plan) => {
      const own = isOf(plan, step) || step.name === "equalize" ? [...(plan.factors[option] ?? [])] : [];
      return [...own, ...(isOf(plan, step) && plan.fixed && option in plan.fixed ? [plan.fixed[option]] : [])];
    }),
  );

test.each(
  steps.filter(({ name }) => inPlans.has(name)).map((step) => [`${step.name} ${step.mode ?? ""}`, step] as const),
)("every choice of %s is in a row", (_, step) => {
  const { name, mode, options } = step;
  const { properties = {} } = z.toJSONSchema(options, { unrepresentable: "any", io: "input" });
  let count = 0;
  for (const [option, schema] of Object.entries(properties)) {
    if (Object.hasOwn(otherOptions, option) || (name === "equalize" && option !== "equalize")) continue;
    const values = choices(schema) ?? [];
    const own = tried(step, option);
    for (const value of values) expect([...own], `${name}: ${option} "${value}"`).toContain(value);
    count += values.length;
  }
  if (name !== "sparse" && mode !== "float16") expect(count).toBeGreaterThan(2);
});

test("ten models and more, all of them there", () => {
  const small = models.filter(({ isLarge }) => !isLarge);
  expect(small.length).toBeGreaterThanOrEqual(10);
  for (const { path } of small) expect(existsSync(path), path).toBe(true);
});

test("rows hold every pair that fits", () => {
  const factors = { a: [1, 2, 3], b: ["x", "y"], c: [true, false], d: [1, 2, 3, 4] };
  const fits = ({ a, b }: Row) => !(a === 1 && b === "y");
  const rows = pairwise(factors, fits);
  expect(rows.every(fits)).toBe(true);
  const names = Object.keys(factors) as (keyof typeof factors)[];
  for (const [i, one] of names.entries())
    for (const two of names.slice(i + 1))
      for (const x of factors[one])
        for (const y of factors[two])
          if (!(one === "a" && x === 1 && two === "b" && y === "y"))
            expect(
              rows.some((row) => row[one] === x && row[two] === y),
              `${x} ${y}`,
            ).toBe(true);
  expect(rows.length).toBeLessThan(24);
});

test("each method, criterion and structure has a row that is written", () => {
  for (const plan of plans)
    for (const [name, values] of Object.entries(plan.factors)) {
      const rows = pairwise({ model: [undefined], ...plan.factors }, plan.fits);
      for (const value of values)
        expect(
          rows.some((row) => row[name] === value),
          `${plan.name}: ${name} ${value}`,
        ).toBe(true);
      for (const row of rows) expect(Object.keys(optionsOf(plan, row)).length).toBeGreaterThan(0);
    }
});

test.each(plans.map((plan) => [plan.name, plan] as const))("no row of %s is refused for what it asks", (_, plan) => {
  const { data, step } = plan;
  for (const row of pairwise({ model: [undefined], ...plan.factors }, plan.fits)) {
    const looks = data !== undefined && (step !== "prune" || needsData(row));
    const own = { ...optionsOf(plan, row), ...(looks && { [data]: "d.mjs" }) };
    const before = Object.entries(plan.before?.(row) ?? {}).map(([name, options]) => {
      const needs = name === "equalize" ? { calibrate: "d.mjs" } : {};
      return [name, { ...(options as object), ...needs }] as const;
    });
    for (const [name, options] of [...before, [step, own] as const])
      bindStep(withEffect({ [name]: options }) as Record<string, unknown>, "row", {});
  }
});
