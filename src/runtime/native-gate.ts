/**
 * @file Keeps a worker thread from being ended within a native call: onnxruntime-node would then abort the whole
 * process ("terminate called after throwing an instance of 'Napi::Error'"). One int32 of shared memory holds the state.
 */
import { TersorError } from "../util/errors.ts";
import type { NativeGuard } from "./ort-session.ts";

const idle = 0;
const busy = 1;
const closing = 2;
const closed = 3;

/** Memory for a gate, to be handed to the worker. */
export function gateMemory(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

/** The worker's side: native calls pass through; `end` is called when the gate was closed during one. */
export function gateGuard(gate: Int32Array, end: () => void): NativeGuard {
  return async (call) => {
    if (Atomics.compareExchange(gate, 0, idle, busy) !== idle)
      throw new TersorError("aborted", "the worker is being ended.");
    try {
      return await call();
    } finally {
      if (Atomics.compareExchange(gate, 0, busy, idle) === closing) {
        Atomics.store(gate, 0, closed);
        Atomics.notify(gate, 0);
        end();
      }
    }
  };
}

/** Closes the gate. True: no native call is under way, nor will be; false: the worker ends itself after the one that is. */
export function closeGate(gate: Int32Array): boolean {
  for (;;) {
    const state = Atomics.compareExchange(gate, 0, idle, closed);
    if (state !== busy) return state !== closing;
    if (Atomics.compareExchange(gate, 0, busy, closing) === busy) return false;
  }
}

/** Closes the gate and blocks this thread until no native call is under way, at most `timeoutMs`. For the end of a process. */
export function closeGateNow(gate: Int32Array, timeoutMs: number): void {
  if (!closeGate(gate)) Atomics.wait(gate, 0, closing, timeoutMs);
}

/** Native calls under way when the process ends are waited for this long. */
const exitTimeoutMs = 60_000;

const gates = new Set<Int32Array>();

/** Gates of native workers that live. */
export const liveGates = {
  add: (gate: Int32Array) => void gates.add(gate),
  delete: (gate: Int32Array) => void gates.delete(gate),
};

/** Whether ending the process now would abort it. */
export function isNativeCallUnderWay(): boolean {
  return [...gates].some((gate) => [busy, closing].includes(Atomics.load(gate, 0)));
}

/** A listener of "exit". */
export function waitForNativeCalls(): void {
  for (const gate of gates) closeGateNow(gate, exitTimeoutMs);
}
