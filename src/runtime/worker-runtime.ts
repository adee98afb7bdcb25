/** @file A runtime in a worker thread of Node: the event loop, progress and Ctrl-C stay alive while models run. */
import { Worker } from "node:worker_threads";
import { messageOf, TersorError } from "../util/errors.ts";
import type { RuntimeName } from "./names.ts";
import { closeGate, gateMemory, liveGates, waitForNativeCalls } from "./native-gate.ts";
import type { NodeWorkerData } from "./node-worker.ts";
import type { Runtime } from "./runtime.ts";
import { workerFile } from "./worker-file.ts";
import { connect } from "./worker-protocol.ts";

export interface WorkerRuntime extends Runtime {
  /**
   * Ends the worker and its sessions; pending calls are rejected with `aborted` at once. Resolves when the worker is
   * gone: with ort-node only after the native call under way, which cannot be interrupted. A later create starts anew.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * A runtime in a worker thread of its own, started with the first model. The process may end while it is idle. Feeds
 * are copied, outputs handed over without a copy. Aborting a call ends the worker and all its sessions.
 */
export function workerRuntime(name: RuntimeName): WorkerRuntime {
  let live: LiveWorker | undefined;
  const start = () => {
    live ??= startWorker(name, (ended) => {
      if (live === ended) live = undefined;
    });
    return live.runtime;
  };
  const close = async () => {
    const worker = live;
    live = undefined;
    await worker?.end(new TersorError("aborted", `${name}: the runtime was closed.`));
  };
  return {
    name,
    slots: {
      put: (tensors) => start().slots.put(tensors),
      get: (names) => start().slots.get(names),
      drop: (names) => start().slots.drop(names),
    },
    create: async (model, options) => start().create(model, options),
    close,
    [Symbol.asyncDispose]: close,
  };
}

interface LiveWorker {
  readonly runtime: Runtime;
  end(reason: TersorError): Promise<void>;
}

process.on("exit", waitForNativeCalls);

function startWorker(name: RuntimeName, onGone: (worker: LiveWorker) => void): LiveWorker {
  const gate = gateMemory();
  const worker = new Worker(workerFile("dist/runtime/node-worker.js"), {
    workerData: { name, gate } satisfies NodeWorkerData,
    execArgv: [],
  });
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  // Only a native build aborts the process when its thread is ended; wasm just stops.
  const native = name === "ort-node";
  if (native) liveGates.add(gate);
  worker.unref();

  const { runtime, fail } = connect(
    {
      send: (message, transfer) => worker.postMessage(message, transfer),
      onMessage: (handler) => worker.on("message", handler),
    },
    name,
    {
      pending: (count) => (count > 0 ? worker.ref() : worker.unref()),
      abandoned: () => void live.end(new TersorError("aborted", `${name}: the worker was ended by an aborted call.`)),
    },
  );
  const live: LiveWorker = {
    runtime,
    end: async (reason) => {
      onGone(live);
      fail(reason);
      if (closeGate(gate) || !native) await worker.terminate();
      else worker.ref();
      await exited;
    },
  };
  const crashed = (why: string, cause?: unknown) => {
    onGone(live);
    fail(new TersorError("runtime-failed", `${name}: the worker ended: ${why}. Load the model again.`, { cause }));
  };
  worker.on("error", (error) => crashed(messageOf(error), error));
  worker.on("exit", (code) => {
    liveGates.delete(gate);
    crashed(`exit code ${code}`);
  });
  return live;
}
