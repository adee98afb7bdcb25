/** @file The world of steps with other data. */
import type { Dataset } from "../../data/dataset.ts";
import type { StepContext } from "../step.ts";

/** The same world, but for what steps without data of their own see. */
export function withData(ctx: StepContext, data: Dataset): StepContext {
  const own: StepContext["data"] = async (spec, inputs) => (spec === undefined ? data : ctx.data(spec, inputs));
  // Not a copy: a context may keep state of its own, and grow members that this file need not know.
  return new Proxy(ctx, {
    get: (target, key) => {
      if (key === "data") return own;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
