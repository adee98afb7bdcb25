/** @file A process that takes commands one after the other and is begun anew when one does not end, ends the process or takes too much. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Failure {
  readonly name: string;
  readonly code?: string;
  readonly message: string;
  readonly stack: string;
}

/** How a command ended. */
export interface Outcome {
  readonly code?: number;
  readonly text?: string;
  readonly error?: Failure;
  /** What was thrown where nobody awaited it. */
  readonly stray?: readonly Failure[];
  /** That it did not: over time, or the process went. */
  readonly gone?: string;
  readonly ms: number;
  /** The most memory that the process has held. */
  readonly kilobytes?: number;
}

interface Task {
  readonly folder?: string;
  readonly argv?: readonly string[];
  /** A model to load in ONNX Runtime. */
  readonly path?: string;
}

const worker = fileURLToPath(new URL("worker.mjs", import.meta.url));
/** Commands after which a process is begun anew, so that what one leaves behind does not add up. */
const LIFE = 250;

export class Hands {
  readonly #limit: number;
  #child: ChildProcess | undefined;
  #age = 0;

  /** @param limit milliseconds that one task may take */
  constructor(limit: number) {
    this.#limit = limit;
  }

  do(task: Task): Promise<Outcome> {
    const child = this.#alive();
    const start = performance.now();
    return new Promise((resolve) => {
      const settle = (outcome: Omit<Outcome, "ms"> & { ms?: number }) => {
        clearTimeout(timer);
        child.removeAllListeners();
        child.on("error", () => {});
        if (outcome.gone !== undefined) this.end();
        resolve({ ms: performance.now() - start, ...outcome });
      };
      const timer = setTimeout(() => settle({ gone: `did not end within ${this.#limit} ms` }), this.#limit);
      child.once("message", (outcome) => settle(outcome as Outcome));
      child.once("exit", (code, signal) => settle({ gone: `the process ended with ${signal ?? code}` }));
      child.once("error", (error) => settle({ gone: error.message }));
      child.send(task);
    });
  }

  /** Ends the process, whatever it does. */
  end(): void {
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
    this.#age = 0;
  }

  #alive(): ChildProcess {
    if (this.#age++ >= LIFE) this.end();
    this.#child ??= fork(worker, {
      execArgv: ["--max-old-space-size=1024"],
      env: { ...process.env, CI: "true", NO_COLOR: "1" },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    return this.#child;
  }
}
