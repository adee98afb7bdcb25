import { describe, expect, it } from "vitest";
import { ProgressLine, progressText, showsProgress } from "./progress.ts";

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

  it("is shown to terminals outside of CI only", () => {
    const shows = (isTTY: boolean | undefined, env: Record<string, string>) =>
      showsProgress({ isTTY, write: () => {} }, env);
    expect(shows(true, {})).toBe(true);
    expect(shows(undefined, {})).toBe(false);
    expect(shows(true, { CI: "true" })).toBe(false);
    expect(shows(true, { CI: "false" })).toBe(true);
    expect(shows(true, { TERM: "dumb" })).toBe(false);
  });
});
