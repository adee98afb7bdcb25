/** @file The interface of a runtime: model bytes in, tensors out. It knows nothing of graphs. */
import type { HostTensor } from "../tensor/host-tensor.ts";
import type { Feeds, IoInfo, Outputs } from "./io.ts";
import type { SlotMap, Slots } from "./slots.ts";

export type { HostTensor };

/** Runs ONNX models. */
export interface Runtime {
  /** What reports call it, such as "ort-node". */
  readonly name: string;
  /** What its sessions hand on to each other; see {@link RunOptions}. */
  readonly slots: Slots;
  /**
   * Loads a model, given as bytes (copied or left alone, never detached) or as a file that the runtime reads itself.
   * @throws runtime-failed when the back end is not installed or refuses the model; aborted.
   */
  create(model: ModelSource, options?: SessionOptions): Promise<Session>;
}

/** Bytes, or a file; `name` stands for its path in messages: where it lies may be nobody's business, or another place every time. */
export type ModelSource = Uint8Array | { readonly path: string; readonly name?: string };

/** A loaded model. Calls on the sessions of one runtime are carried out one after another. */
export interface Session {
  /** Inputs that must be fed: initializers that are listed as inputs too are not among them. */
  readonly inputs: readonly IoInfo[];
  /** Outputs that are tensors. */
  readonly outputs: readonly IoInfo[];
  /** Milliseconds that loading took, the start of the back end itself not counted. */
  readonly loadMs: number;
  /**
   * Runs the model once. The caller's arrays are read, never detached or written.
   * @param fetches names of the outputs to return; all when absent.
   * @throws shape-mismatch before anything runs when a feed is missing, unknown, or of a wrong type or shape;
   * bad-data for an unknown fetch; runtime-failed; aborted.
   */
  run(feeds: Feeds, fetches?: readonly string[], options?: RunOptions): Promise<Outputs>;
  /**
   * Runs the model `runs` times on the same feeds: milliseconds of each run, measured where it runs, so that
   * messages between threads are not counted. Makes no warm-up run: the first values may be slow.
   * @throws as {@link run}.
   */
  time(feeds: Feeds, runs: number, options?: CallOptions): Promise<Float64Array>;
  /** Frees the session. Calling it twice is harmless; running afterwards fails. */
  release(): Promise<void>;
}

export interface CallOptions {
  /**
   * Rejects the call with `aborted` at once. In a worker this ends the worker, and with it its other sessions; on the
   * calling thread a run that has begun cannot be stopped, and is only waited for no longer.
   */
  readonly signal?: AbortSignal;
}

export interface RunOptions extends CallOptions {
  /** Inputs that are taken from slots of the runtime and not from the feeds: slot by input. */
  readonly read?: SlotMap;
  /** Outputs that are computed, put into slots and not returned: slot by output. */
  readonly write?: SlotMap;
}

export interface SessionOptions extends CallOptions {
  /**
   * Threads within one operator. Absent: what the back end chooses (ort-node: one per physical core; ort-web: half
   * the logical cores, at most 4, or 1 where the page is not cross-origin isolated). Sums may be split differently,
   * and so round differently, with another number: pass it explicitly where results or timings are compared.
   * ort-web fixes it with its first session.
   */
  readonly threads?: number;
  /**
   * Whether threads wait for work awake, which is a little faster and costs processor time; ort-node only. True when absent.
   */
  readonly spinning?: boolean;
  /** Graph optimizations that the runtime makes at load; "all" when absent. */
  readonly optimization?: "disabled" | "basic" | "extended" | "all";
  /** "cpu" (ort-node) or "wasm" (ort-web) when absent; others as the installed package has them, such as "webgpu". */
  readonly executionProvider?: string;
  /** Where to write the graph as optimized at load. ort-node only. */
  readonly optimizedModelPath?: string;
  /** Files of external data: `path` exactly as the model spells the location. Needless for a model loaded from a path in ort-node. */
  readonly externalData?: readonly { readonly path: string; readonly data: Uint8Array }[];
  /** Lowest severity that ONNX Runtime writes to stderr. "fatal" when absent: what fails is thrown anyway. */
  readonly log?: LogSeverity;
  /** Session configuration entries, by group: `{ session: { x64quantprecision: "1" } }`. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export type LogSeverity = "verbose" | "info" | "warning" | "error" | "fatal";
