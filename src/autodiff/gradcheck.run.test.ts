/** @file Every gradient rule against central differences; the cases are in test/gradcheck, one line each. */
import { describe, expect, it } from "vitest";
import { cases } from "../../test/gradcheck/cases.ts";
import { gradcheck } from "../../test/gradcheck/gradcheck.ts";
import { decomposedOps } from "./decompose/index.ts";
import { opsWithGradientRule } from "./rules/index.ts";

describe("gradients agree with central differences:", () => {
  it.for(Object.entries(cases))("%s", async ([, list]) => {
    for (const each of list) {
      const { text, ...options } = typeof each === "string" ? { text: each } : each;
      const tolerance = options.tolerance ?? (options.dtype === "float" ? 1e-3 : 1e-6);
      expect(await gradcheck(text, options), text).toBeLessThan(tolerance);
    }
  });

  it("every rule and every decomposition has a case", () => {
    const nameOf = (domain: string) => (opType: string) => (domain ? `${domain}.${opType}` : opType);
    const all = ["", "com.microsoft"].flatMap((domain) =>
      [...opsWithGradientRule(domain), ...decomposedOps(domain)].map(nameOf(domain)),
    );
    expect([...new Set(all)].filter((name) => !cases[name])).toEqual([]);
  });
});
