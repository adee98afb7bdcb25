/** @file Progress on stderr: one line that is rewritten, with rate and time left; silent when nobody watches. */
import type { Progress, ProgressUnit, StepContext } from "../step.ts";
import type { Io } from "./args.ts";
import { formatBytes, formatCount, formatDuration, truncateMiddle } from "./render.ts";

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

/** Whether progress is shown: to a terminal that can rewrite a line, outside of CI. */
export function showsProgress(stream: ProgressStream, env: Readonly<Record<string, string | undefined>>): boolean {
  return Boolean(stream.isTTY) && env.TERM !== "dumb" && (env.CI === undefined || env.CI === "" || env.CI === "false");
}

/** Runs work that reports progress, and leaves the terminal clean whatever comes of it. */
export async function withProgress<T>(io: Io, work: (progress: StepContext["progress"]) => Promise<T>): Promise<T> {
  if (io.isQuiet || !showsProgress(process.stderr, process.env)) return work(() => silent);
  const line = new ProgressLine(process.stderr);
  try {
    return await work((...args) => line.begin(...args));
  } finally {
    line.clear();
  }
}

const silent: Progress = { update: () => {}, end: () => {} };

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
export function progressText({ label, done, total, unit, seconds, note }: ProgressState): string {
  const share = total > 0 ? Math.min(1, done / total) : 0;
  const filled = Math.round(share * BAR);
  const amount = (value: number) => (unit === "bytes" ? formatBytes(value) : formatCount(value));
  const rate = seconds > 0 ? done / seconds : 0;
  const parts = [
    `${label} ${"█".repeat(filled)}${"░".repeat(BAR - filled)}`,
    `${Math.floor(share * 100)} %`.padStart(5),
    unit === "bytes" ? `${amount(done)} of ${amount(total)}` : `${amount(done)} of ${amount(total)} ${unit}`,
    ...(rate > 0 ? [`${rate < 10 && unit !== "bytes" ? rate.toFixed(1) : amount(rate)}/s`] : []),
    ...(rate > 0 && done < total ? [`${formatDuration((total - done) / rate)} left`] : []),
    ...(note === undefined ? [] : [note]),
  ];
  return parts.join("  ");
}
