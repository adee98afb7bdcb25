import { describe, expect, it } from "vitest";
import { ProgressLine, plainProgress, progressStyle, progressText } from "./progress.ts";

/** A terminal that keeps what is written, and a clock that is set. */
function terminal() {
  const writes: string[] = [];
  const clock = { now: 0 };
  const line = new ProgressLine({ columns: 80, write: (text) => writes.push(text) }, () => clock.now);
  return { writes, clock, line };
}

describe("progress", () => {
  it("shows share, amount, rate and time left", () => {
    const state = { label: "writing", done: 180e6, total: 432e6, unit: "bytes", seconds: 0.3 } as const;
    expect(progressText(state)).toBe("writing ██████████░░░░░░░░░░░░░░   41 %  180 MB of 432 MB  600 MB/s  0:00 left");
    const slow = { label: "comparing", done: 3, total: 12, unit: "samples", seconds: 6 } as const;
    expect(progressText(slow)).toBe("comparing ██████░░░░░░░░░░░░░░░░░░   25 %  3 of 12 samples  0.5/s  0:18 left");
  });

  it("does not divide by nothing", () => {
    const text = progressText({ label: "x", done: 0, total: 0, unit: "samples", seconds: 0 });
    expect(text).toBe("x ░░░░░░░░░░░░░░░░░░░░░░░░    0 %  0 of 0 samples");
  });

  it("leaves the terminal alone when work is quick", () => {
    const { writes, clock, line } = terminal();
    const progress = line.begin("writing", 100, "bytes");
    clock.now = 100;
    progress.update(50);
    progress.end();
    expect(writes).toEqual([]);
  });

  it("draws at most ten times a second and cleans up", () => {
    const { writes, clock, line } = terminal();
    const progress = line.begin("writing", 100, "bytes");
    for (clock.now = 0; clock.now <= 1000; clock.now += 10) progress.update(clock.now / 10);
    expect(writes.length).toBeGreaterThanOrEqual(6);
    expect(writes.length).toBeLessThanOrEqual(8);
    progress.end();
    expect(writes.at(-1)).toBe("\r\u001b[K");
  });

  it("is not drawn by an activity that another has replaced", () => {
    const { writes, clock, line } = terminal();
    const first = line.begin("first", 100, "bytes");
    line.begin("second", 100, "bytes");
    clock.now = 1000;
    first.update(50);
    expect(writes).toEqual([]);
  });

  it("is a line of terminals, lines that stay in pipes, and nothing in CI", () => {
    const style = (isTTY: boolean | undefined, env: Record<string, string>) =>
      progressStyle({ isTTY, write: () => {} }, env);
    expect(style(true, {})).toBe("line");
    expect(style(undefined, {})).toBe("lines");
    expect(style(true, { CI: "true" })).toBe("none");
    expect(style(undefined, { CI: "1" })).toBe("none");
    expect(style(true, { CI: "false" })).toBe("line");
    expect(style(true, { TERM: "dumb" })).toBe("lines");
  });

  it("into a pipe, a line every ten seconds, through all activities", () => {
    const writes: string[] = [];
    const clock = { now: 0 };
    const progress = plainProgress({ write: (text) => writes.push(text) }, () => clock.now);
    const first = progress("calibrating", 256, "samples");
    for (clock.now = 0; clock.now <= 8000; clock.now += 100) first.update(clock.now / 100);
    first.end();
    const second = progress("timing 2 models", 60, "rounds");
    for (; clock.now <= 25_000; clock.now += 1000) second.update(clock.now / 1000);
    expect(writes).toEqual([
      "timing 2 models, 16 %, 10 of 60 rounds, 5.0/s, 0:10 left\n",
      "timing 2 models, 33 %, 20 of 60 rounds, 1.7/s, 0:24 left\n",
    ]);
  });
});
