/** @file Ctrl-C: the first asks the command to stop, the second ends the process at once, whatever is under way. */
import { Worker } from "node:worker_threads";
import { isNativeCallUnderWay, waitForNativeCalls } from "../runtime/native-gate.ts";

/** How long an interrupted command may take to clean up, ms. */
const GRACE = 5000;
/** How long a native call that can't be interrupted is waited for when all else is done, ms. */
const NATIVE_GRACE = 1500;
/** How long this thread may take to react to the second signal, ms. */
const SECOND_GRACE = 300;
const INTERRUPTED = 130;
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const interruption = new AbortController();
let watcher: Worker | undefined;

/** Aborted by the first signal. */
export const interrupted: AbortSignal = interruption.signal;

export function listenForSignals(): void {
  for (const signal of signals)
    process.on(signal, () => {
      if (interrupted.aborted) endNow();
      interruption.abort();
      setTimeout(endNow, GRACE).unref();
    });
}

/**
 * A thread that ends the process when this one can't: signals reach JavaScript only between two of its turns, and a regular expression,
 * or a module of the user's, may take one for ever. Node's handles for signals work in every thread, though only an old interface
 * makes them there; without it, this thread alone reacts.
 */
export function watchSignals(): void {
  watcher = new Worker(watching, { eval: true, execArgv: [], workerData: { GRACE, SECOND_GRACE, pid: process.pid } });
  watcher.on("error", () => {});
  watcher.unref();
}

const watching = `
const { parentPort, workerData } = require("node:worker_threads");
const { GRACE, SECOND_GRACE, pid } = workerData;
process.noDeprecation = true;
try {
  const { Signal } = process.binding("signal_wrap");
  const end = () => process.kill(pid, "SIGKILL");
  let count = 0;
  const handles = ["SIGINT", "SIGTERM", "SIGHUP"].map((name) => {
    const handle = new Signal();
    handle.onsignal = () => setTimeout(end, ++count > 1 ? SECOND_GRACE : GRACE + 1000);
    handle.start(require("node:os").constants.signals[name]);
    return handle;
  });
  // The other thread has let go of its handles: without any, the signal has its usual effect.
  parentPort.once("message", () => {
    for (const handle of handles) handle.close();
    setTimeout(() => process.kill(pid, "SIGINT"), 0);
  });
} catch {
  parentPort.once("message", () => process.kill(pid, "SIGINT"));
}`;

/** Ends an interrupted command: with 130, or, where native code is still at work and would end as a crash, by the signal itself. */
export async function endInterrupted(): Promise<never> {
  const until = performance.now() + NATIVE_GRACE;
  while (isNativeCallUnderWay() && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
  return endNow();
}

function endNow(): never {
  if (!isNativeCallUnderWay()) process.exit(INTERRUPTED);
  // What "exit" would do: temporary files go. Then the signal, as if nobody had listened.
  for (const listener of process.listeners("exit"))
    if (listener !== waitForNativeCalls) listener.call(process, INTERRUPTED);
  for (const signal of signals) process.removeAllListeners(signal);
  if (watcher) watcher.postMessage("end");
  else process.kill(process.pid, "SIGINT");
  // Nothing more happens here.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * SECOND_GRACE);
  process.kill(process.pid, "SIGKILL");
  throw new Error("ended");
}
