/** @file Worker threads of Node that quantize weights. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { ComputedWeight, MethodJob, MethodPool } from "../../quantize/lazy/pool/method-pool.ts";
import type { JobReply } from "../../quantize/lazy/pool/serve-jobs.ts";
import { abortable, throwIfAborted } from "../../runtime/abort.ts";
import { workerFile } from "../../runtime/worker-file.ts";
import { messageOf, TersorError } from "../../util/errors.ts";

export interface NodeMethodPool extends MethodPool {
  /** Ends the workers at once; jobs under way are rejected with `aborted`. A later job starts new ones. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Most workers that are started without being asked for: each has a weight and its statistics in memory. */
const MOST = 4;
/** Multiplications below which a worker is not worth its start: about half a second of them. */
const WORTH = 2e9;

/**
 * How many workers a model of `work` multiplications gets.
 * @param asked a number, or "auto": one for each processor, up to 4, where the work is worth it
 */
export function workersFor(work: number, asked: number | "auto"): number {
  if (work === 0) return 0;
  if (asked !== "auto") return asked;
  const cores = availableParallelism();
  return work < WORTH || cores === 1 ? 0 : Math.min(MOST, cores);
}

/**
 * A pool of up to `workers` threads, each started when a job finds no idle one. The process may end while it is idle. Aborting a job
 * ends all workers.
 * @throws bad-recipe unless `workers` is a whole number of at least 1; runtime-failed where the package is not built
 */
export function methodPool(workers: number): NodeMethodPool {
  if (!Number.isInteger(workers) || workers < 1)
    throw new TersorError(
      "bad-recipe",
      `methodPool: workers: expected a whole number of at least 1, got ${workers}. Without workers, pass no pool.`,
    );
  const file = workerFile("dist/bin/method-worker.js");
  const waiting: QueuedJob[] = [];
  const threads = new Set<Thread>();
  const next = () => {
    while (waiting.length > 0) {
      let thread = [...threads].find(({ isIdle }) => isIdle);
      if (!thread && threads.size < workers) {
        thread = new Thread(file, { idle: next, gone: (ended) => threads.delete(ended) && next() });
        threads.add(thread);
      }
      const job = thread && waiting.shift();
      if (!job) return;
      thread?.start(job);
    }
  };
  const end = async (reason: TersorError) => {
    for (const { reject } of waiting.splice(0)) reject(reason);
    const ended = [...threads];
    threads.clear();
    await Promise.all(ended.map((thread) => thread.end(reason)));
  };
  const close = () => end(new TersorError("aborted", "quantize: the workers were closed."));
  return {
    workers,
    run: async (job, signal) => {
      throwIfAborted(signal, "quantize");
      const result = new Promise<ComputedWeight>((resolve, reject) => {
        waiting.push({ job, resolve, reject });
        next();
      });
      return abortable(result, signal, "quantize", () => {
        void end(new TersorError("aborted", "quantize: the workers were ended by an aborted job."));
      });
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

interface QueuedJob {
  readonly job: MethodJob;
  resolve(result: ComputedWeight): void;
  reject(error: TersorError): void;
}

interface ThreadEvents {
  idle(): void;
  gone(thread: Thread): void;
}

/** A worker thread with at most one job. */
class Thread {
  readonly #worker: Worker;
  readonly #events: ThreadEvents;
  #current: QueuedJob | undefined;

  constructor(file: URL, events: ThreadEvents) {
    this.#events = events;
    this.#worker = new Worker(file, { execArgv: [] });
    this.#worker.unref();
    this.#worker.on("message", (reply: JobReply) => this.#answer(reply));
    this.#worker.on("error", (error) => this.#crashed(messageOf(error), error));
    this.#worker.on("exit", (code) => this.#crashed(`exit code ${code}`));
  }

  get isIdle(): boolean {
    return this.#current === undefined;
  }

  start(queued: QueuedJob): void {
    this.#worker.postMessage(queued.job, buffersOf(queued.job));
    this.#current = queued;
    this.#worker.ref();
  }

  async end(reason: TersorError): Promise<void> {
    this.#take()?.reject(reason);
    await this.#worker.terminate();
  }

  #answer(reply: JobReply): void {
    const job = this.#take();
    if ("result" in reply) job?.resolve(reply.result);
    else job?.reject(new TersorError(reply.error.code, reply.error.message));
    this.#events.idle();
  }

  #crashed(why: string, cause?: unknown): void {
    const job = this.#take();
    const name = job?.job.job.name;
    job?.reject(
      new TersorError(
        "runtime-failed",
        `weight "${name}": the worker that quantized it ended: ${why}. Use fewer workers, or none.`,
        { cause },
      ),
    );
    this.#events.gone(this);
  }

  /** The job under way, which is none any more. */
  #take(): QueuedJob | undefined {
    const job = this.#current;
    this.#current = undefined;
    this.#worker.unref();
    return job;
  }
}

/** The large arrays of a job, each once. */
function buffersOf({ weight, stats }: MethodJob): ArrayBuffer[] {
  const arrays = [weight.bytes, ...stats.flatMap(({ hessian, shift, meanAbs }) => [hessian, shift, meanAbs])];
  const buffers = arrays.flatMap((array) => (array && array.buffer instanceof ArrayBuffer ? [array.buffer] : []));
  return [...new Set(buffers)];
}
