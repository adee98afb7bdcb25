/** @file Progress on stderr, with rate and time left: one line that is rewritten, or, into a pipe, a line every ten seconds. */
import type { Progress, ProgressUnit, StepContext } from "../recipe/step.ts";
import type { Io } from "./args.ts";
import { formatBytes, formatCount, formatDuration, truncateMiddle } from "./text/render.ts";

/** Where the line goes: process.stderr, or something like it. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Milliseconds before the first drawing, so that quick work leaves the terminal alone, and between two. */
const DELAY = 300;
const INTERVAL = 100;
const BAR = 24;

/** Milliseconds between lines that stay. */
const PLAIN_INTERVAL = 10_000;

/** How progress is shown: on a line of a terminal that can rewrite it, else in lines that stay; not at all in CI. */
export function progressStyle(
  stream: ProgressStream,
  env: Readonly<Record<string, string | undefined>>,
): "line" | "lines" | "none" {
  if (env.CI !== undefined && env.CI !== "" && env.CI !== "false") return "none";
  return stream.isTTY && env.TERM !== "dumb" ? "line" : "lines";
}

/** Runs work that reports progress, and leaves the terminal clean whatever comes of it. */
export async function withProgress<T>(io: Io, work: (progress: StepContext["progress"]) => Promise<T>): Promise<T> {
  const style = io.isQuiet ? "none" : progressStyle(process.stderr, process.env);
  if (style === "none") return work(() => silent);
  if (style === "lines") return work(plainProgress(process.stderr));
  const line = new ProgressLine(process.stderr);
  try {
    return await work((...args) => line.begin(...args));
  } finally {
    line.clear();
  }
}

const silent: Progress = { update: () => {}, end: () => {} };

/** Lines that stay, one every ten seconds from the beginning on, whatever the activities in between. */
export function plainProgress(
  stream: ProgressStream,
  now: () => number = () => performance.now(),
): StepContext["progress"] {
  let next = now() + PLAIN_INTERVAL;
  return (label, total, unit) => {
    const start = now();
    return {
      update(done, note) {
        const time = now();
        if (time < next) return;
        next = time + PLAIN_INTERVAL;
        const state = { label, done, total, unit, seconds: (time - start) / 1000, note };
        stream.write(`${partsOf(state).join(", ")}\n`);
      },
      end: () => {},
    };
  };
}

/** A line of progress. One at a time: beginning the next activity replaces the one before. */
export class ProgressLine {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  #drawn = false;
  #current = 0;

  constructor(stream: ProgressStream, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
  }

  /** Begins an activity of `total` units. */
  begin(label: string, total: number, unit: ProgressUnit): Progress {
    this.clear();
    const id = ++this.#current;
    const start = this.#now();
    let next = start + DELAY;
    return {
      update: (done, note) => {
        const now = this.#now();
        if (id !== this.#current || now < next) return;
        next = now + INTERVAL;
        const text = progressText({ label, done, total, unit, seconds: (now - start) / 1000, note });
        this.#draw(text);
      },
      end: () => {
        if (id === this.#current) this.clear();
      },
    };
  }

  /** Takes the line away: before anything else is printed. */
  clear(): void {
    if (!this.#drawn) return;
    this.#stream.write("\r\u001b[K");
    this.#drawn = false;
  }

  #draw(text: string): void {
    this.#stream.write(`\r\u001b[K${truncateMiddle(text, (this.#stream.columns || 80) - 1)}`);
    this.#drawn = true;
  }
}

export interface ProgressState {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly unit: ProgressUnit;
  /** Since the activity began. */
  readonly seconds: number;
  readonly note?: string | undefined;
}

/** `writing ████████░░░░  42 %  180 MB of 432 MB  610 MB/s  0:01 left`. */
export function progressText(state: ProgressState): string {
  const filled = Math.round(shareOf(state) * BAR);
  const [label, percent = "", ...parts] = partsOf(state);
  return [`${label} ${"█".repeat(filled)}${"░".repeat(BAR - filled)}`, percent.padStart(5), ...parts].join("  ");
}

function shareOf({ done, total }: ProgressState): number {
  return total > 0 ? Math.min(1, done / total) : 0;
}

/** What is done, how much of it, how fast, how long it takes. */
function partsOf(state: ProgressState): string[] {
  const { label, done, total, unit, seconds, note } = state;
  const amount = (value: number) => (unit === "bytes" ? formatBytes(value) : formatCount(value));
  const rate = seconds > 0 ? done / seconds : 0;
  return [
    label,
    `${Math.floor(shareOf(state) * 100)} %`,
    unit === "bytes" ? `${amount(done)} of ${amount(total)}` : `${amount(done)} of ${amount(total)} ${unit}`,
    ...(rate > 0 ? [`${rate < 10 && unit !== "bytes" ? rate.toFixed(1) : amount(rate)}/s`] : []),
    ...(rate > 0 && done < total ? [`${formatDuration((total - done) / rate)} left`] : []),
    ...(note === undefined ? [] : [note]),
  ];
}
