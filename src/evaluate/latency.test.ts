import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { measureLatency } from "./latency.ts";
import { interquartileRange, median, quantile } from "./statistics.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A model whose runs take what `ms` says, on the fake clock, and that writes down when it was called. */
function model(name: string, calls: string[], ms: (run: number) => number) {
  let run = 0;
  return async (runs: number) => {
    calls.push(`${name}${runs}`);
    const times = Float64Array.from({ length: runs }, () => ms(run++));
    vi.advanceTimersByTime(times.reduce((a, b) => a + b, 0));
    return times;
  };
}

describe("latency", () => {
  it("warms up, then goes through the models in turns, every second round backwards", async () => {
    const calls: string[] = [];
    const rounds: string[] = [];
    const models = { a: model("a", calls, () => 2), b: model("b", calls, () => 1) };
    const options = {
      warmup: 3,
      rounds: 3,
      runs: 2,
      onRound: (done: number, total: number) => rounds.push(`${done}/${total}`),
    };
    const report = await measureLatency(models, options);
    expect(calls.join(" ")).toBe("a3 b3 a2 b2 b2 a2 a2 b2");
    expect(rounds).toEqual(["1/3", "2/3", "3/3"]);
    expect(report.models.a).toEqual({ runs: 6, p50: 2, p95: 2, min: 2, iqr: 0 });
    expect(report.ratios).toEqual({ b: { ratio: 0.5, low: 0.5, high: 0.5 } });
  });

  it("compares within rounds, so that a slow spell of the machine cancels out", async () => {
    const spell = (run: number) => (run >= 10 ? 4 : 1);
    const calls: string[] = [];
    const models = { a: model("a", calls, (run) => 2 * spell(run)), b: model("b", calls, (run) => 3 * spell(run)) };
    const report = await measureLatency(models, { warmup: 0, rounds: 4, runs: 5 });
    expect(report.ratios.b).toEqual({ ratio: 1.5, low: 1.5, high: 1.5 });
    expect(report.models.a).toEqual({ runs: 20, p50: 5, p95: 8, min: 2, iqr: 6 });
  });

  it("ends when its time is up, but not before three rounds", async () => {
    const slow = () => model("a", [], () => 100);
    const options = { warmup: 0, rounds: 50, runs: 1 };
    expect((await measureLatency({ a: slow() }, { ...options, budgetMs: 1 })).rounds).toBe(3);
    expect((await measureLatency({ a: slow() }, { ...options, budgetMs: 1000 })).rounds).toBe(10);
  });

  it("stops when asked to, and refuses counts that measure nothing", async () => {
    const calls: string[] = [];
    const stop = new AbortController();
    const models = { a: model("a", calls, () => 1) };
    const stopped = measureLatency(models, { signal: stop.signal, onRound: () => stop.abort() });
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
    expect(calls).toHaveLength(2);
    await expect(measureLatency(models, { rounds: 0 })).rejects.toThrowError("expected at least 1 round of 1 run");
  });
});

it("quantiles interpolate between ranks", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([1, 2, 3, 4, 5], 0.95)).toBeCloseTo(4.8, 12);
  expect(median([7])).toBe(7);
  expect(interquartileRange([1, 2, 3, 4, 5])).toBe(2);
});
