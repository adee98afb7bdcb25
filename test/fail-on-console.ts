/** @file Every test fails that lets the library print to the console. */
import { afterEach, expect, vi } from "vitest";

const methods = ["log", "info", "warn", "error", "debug"] as const;
const spies = methods.map((method) => vi.spyOn(console, method));

afterEach(() => {
  for (const spy of spies) {
    expect(spy, "the library must not write to the console").not.toHaveBeenCalled();
    spy.mockClear();
  }
});
