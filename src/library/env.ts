/** @file What the functions of the library take from the world around: a runtime, samples, a signal, and who is told how far it is. */
import type { Samples } from "../data/samples.ts";
import type { DataSpec, Progress, ProgressUnit, StepContext } from "../recipe/step.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** How far an activity is. */
export interface ProgressEvent {
  /** Such as `calibrating`. */
  readonly activity: string;
  readonly done: number;
  readonly total: number;
  readonly unit: ProgressUnit;
  /** What else there is to say, such as the loss. */
  readonly note?: string;
}

export interface Env {
  /** What runs models. When absent: in Node onnxruntime-node, in a worker; in a browser onnxruntime-web (wasm), on the calling thread. */
  readonly runtime?: Runtime;
  /** Samples for whatever needs some and names none. */
  readonly data?: Samples | DataSpec;
  /** Of everything random. 0 when absent. */
  readonly seed?: number;
  /** Ends it early: it throws a TersorError of code `aborted` then. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: ProgressEvent) => void;
}

/** As contexts report it. */
export function progressTo({ onProgress }: Env): StepContext["progress"] {
  return (activity, total, unit): Progress => ({
    update: (done, note) => onProgress?.({ activity, done, total, unit, ...(note !== undefined && { note }) }),
    end: () => {},
  });
}
