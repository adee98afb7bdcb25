/** @file A runtime over the JavaScript interface that all packages of ONNX Runtime share. */
import type * as Ort from "onnxruntime-node";
import type { DType } from "../tensor/dtype.ts";
import type { TypedArray } from "../tensor/tensor.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import { abortable, throwIfAborted } from "./abort.ts";
import { checkFeeds, checkFetches, splitFetches } from "./feeds.ts";
import type { Feeds, IoInfo, Outputs } from "./io.ts";
import type {
  CallOptions,
  HostTensor,
  LogSeverity,
  ModelSource,
  RunOptions,
  Runtime,
  Session,
  SessionOptions,
} from "./runtime.ts";
import { MemorySlots } from "./slots.ts";

/** What one package of ONNX Runtime is, and how it differs from the others. */
export interface OrtBackend {
  readonly name: string;
  readonly packageName: string;
  readonly provider: string;
  /** Imports the package. */
  readonly load: () => Promise<typeof Ort>;
  /** Applies options that the package holds globally; throws for what it cannot do. */
  readonly configure?: (ort: typeof Ort, options: SessionOptions) => void;
}

/** Brackets every native call: a thread must not be ended within one. */
export type NativeGuard = <T>(call: () => Promise<T>) => Promise<T>;

/** A runtime that works on the calling thread, which is blocked while a model loads or runs. */
export function ortRuntime(backend: OrtBackend, guard: NativeGuard = (call) => call()): Runtime {
  let module: Promise<typeof Ort> | undefined;
  const slots = new MemorySlots();
  const create = async (model: ModelSource, options: SessionOptions): Promise<Session> => {
    module ??= guard(() => importOrt(backend));
    const ort = await module;
    backend.configure?.(ort, options);
    await started(backend, ort, options, guard);
    const native = nativeOptions(backend, options);
    const { path, name = path } = model instanceof Uint8Array ? {} : model;
    const subject = `${backend.name}, model ${model instanceof Uint8Array ? `of ${model.byteLength} bytes` : `"${name}"`}`;
    try {
      const source = path ?? model;
      const start = performance.now();
      // The overloads of create take a path or bytes, not their union.
      const session = await guard(() => ort.InferenceSession.create(source as string, native));
      return new OrtSession(ort, session, { subject, loadMs: performance.now() - start, guard, slots });
    } catch (error) {
      const said = messageOf(error);
      const named = path && name ? said.replaceAll(path, name) : said;
      throw failure(
        subject,
        "loading failed",
        error instanceof TersorError ? error : new Error(named, { cause: error }),
      );
    }
  };
  return {
    name: backend.name,
    slots,
    create: async (model, options = {}) => {
      throwIfAborted(options.signal, backend.name);
      const created = create(model, options);
      const release = () =>
        void created.then(
          (session) => session.release(),
          () => {},
        );
      return abortable(created, options.signal, backend.name, release);
    },
  };
}

interface SessionContext {
  readonly subject: string;
  readonly loadMs: number;
  readonly guard: NativeGuard;
  readonly slots: MemorySlots;
}

class OrtSession implements Session {
  readonly inputs: readonly IoInfo[];
  readonly outputs: readonly IoInfo[];
  readonly loadMs: number;
  readonly #ort: typeof Ort;
  readonly #session: Ort.InferenceSession;
  readonly #context: SessionContext;
  #released = false;

  constructor(ort: typeof Ort, session: Ort.InferenceSession, context: SessionContext) {
    this.#ort = ort;
    this.#session = session;
    this.#context = context;
    this.loadMs = context.loadMs;
    this.inputs = session.inputMetadata.map((info) => {
      if (info.isTensor) return ioInfo(info);
      throw new Error(`input "${info.name}" is not a tensor: sequences, maps and optionals cannot be fed`);
    });
    this.outputs = session.outputMetadata.filter((info) => info.isTensor).map(ioInfo);
  }

  async run(feeds: Feeds, fetches?: readonly string[], options: RunOptions = {}): Promise<Outputs> {
    const { subject, slots } = this.#context;
    const { signal, read = {}, write = {} } = options;
    this.#check(signal);
    const all = slots.fill(feeds, read, this.inputs);
    checkFeeds(this.inputs, all);
    const [names, written] = splitFetches(this.outputs, fetches, write);
    if (names.length + written.length === 0) return {};
    const results = await abortable(this.#run(this.#tensors(all), [...names, ...written]), signal, subject);
    const tensor = (name: string) => hostTensor(results[name] as Ort.Tensor);
    slots.take(Object.fromEntries(written.map((name) => [write[name] as string, tensor(name)])));
    return Object.fromEntries(names.map((name) => [name, tensor(name)]));
  }

  async time(feeds: Feeds, runs: number, options: CallOptions = {}): Promise<Float64Array> {
    checkFeeds(this.inputs, feeds);
    const tensors = this.#tensors(feeds);
    const names = checkFetches(this.outputs, undefined);
    const times = new Float64Array(runs);
    for (let i = 0; i < runs; i++) {
      this.#check(options.signal);
      const start = performance.now();
      await abortable(this.#run(tensors, names), options.signal, this.#context.subject);
      times[i] = performance.now() - start;
    }
    return times;
  }

  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    await this.#context.guard(() => this.#session.release());
  }

  async #run(
    tensors: Record<string, Ort.Tensor>,
    fetches: readonly string[],
  ): Promise<Ort.InferenceSession.ReturnType> {
    // The native side asks an object of outputs for every name of the model: "toString" is in any, so all are fetched then.
    const isAmbiguous = this.outputs.some(({ name }) => name in {});
    const names = isAmbiguous ? this.outputs.map(({ name }) => name) : fetches;
    try {
      return await this.#context.guard(() => this.#session.run(tensors, names, { logSeverityLevel: 4 }));
    } catch (error) {
      throw failure(this.#context.subject, "running failed", error, tensors);
    }
  }

  /** Views, not copies: ONNX Runtime reads the feeds where they lie. */
  #tensors(feeds: Feeds): Record<string, Ort.Tensor> {
    const tensor = ({ dtype, data, dims }: HostTensor) =>
      new this.#ort.Tensor(dtype as Ort.Tensor.Type, data as Float32Array, dims);
    return Object.fromEntries(this.inputs.map(({ name }) => [name, tensor(feeds[name] as HostTensor)]));
  }

  #check(signal: AbortSignal | undefined): void {
    throwIfAborted(signal, this.#context.subject);
    if (this.#released)
      throw new TersorError("runtime-failed", `${this.#context.subject}: the session was released. Create a new one.`);
  }
}

/** @throws runtime-failed that says which package to install. */
async function importOrt(backend: OrtBackend): Promise<typeof Ort> {
  const { name, packageName } = backend;
  try {
    return await backend.load();
  } catch (cause) {
    const missing = (cause as { code?: unknown } | null)?.code === "ERR_MODULE_NOT_FOUND";
    throw new TersorError(
      "runtime-failed",
      missing
        ? `${name}: the package ${packageName} is not installed. Run "npm install ${packageName}".`
        : `${name}: the package ${packageName} cannot be loaded: ${messageOf(cause)}. Reinstall it, or use another runtime.`,
      { cause },
    );
  }
}

const starts = new WeakMap<typeof Ort, Promise<void>>();

/**
 * Brings the back end up (for wasm: compiles it) before the first real model, whose load time would count it. The
 * only public way is to load something: here bytes that are no model. If the start itself fails, the real load says so.
 */
function started(backend: OrtBackend, ort: typeof Ort, options: SessionOptions, guard: NativeGuard): Promise<void> {
  const known = starts.get(ort);
  if (known) return known;
  ort.env.logLevel = options.log ?? "fatal";
  const ignore = () => {};
  const start = guard(() =>
    ort.InferenceSession.create(new Uint8Array(1), nativeOptions(backend, {})).then(ignore, ignore),
  );
  starts.set(ort, start);
  return start;
}

const severities = { verbose: 0, info: 1, warning: 2, error: 3, fatal: 4 } as const satisfies Record<
  LogSeverity,
  number
>;

function nativeOptions(backend: OrtBackend, options: SessionOptions): Ort.InferenceSession.SessionOptions {
  const { threads, spinning, optimization, executionProvider, optimizedModelPath, externalData, log, extra } = options;
  const asleep = spinning === false && { session: { intra_op: { allow_spinning: "0" } } };
  return {
    executionProviders: [executionProvider ?? backend.provider],
    graphOptimizationLevel: optimization ?? "all",
    logSeverityLevel: severities[log ?? "fatal"],
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    ...(optimizedModelPath !== undefined && { optimizedModelFilePath: optimizedModelPath }),
    ...(externalData && { externalData }),
    ...((extra || asleep) && { extra: { ...asleep, ...extra } }),
  };
}

/** The names of the element types are ours; a symbolic dim is its name, an unknown one "" or, in wasm, -1 as uint32. */
function ioInfo(info: Ort.InferenceSession.TensorValueMetadata): IoInfo {
  const known = (dim: number | string) => (dim === "" || dim === 0xffffffff ? null : dim);
  return { name: info.name, dtype: info.type as DType, dims: info.shape.map(known) };
}

function hostTensor(tensor: Ort.Tensor): HostTensor {
  const data = tensor.data as TypedArray | string[];
  // Where the engine has Float16Array, ONNX Runtime uses it; the bits are the same.
  const bits = tensor.type === "float16" && !Array.isArray(data);
  return {
    dtype: tensor.type as DType,
    dims: tensor.dims,
    data: bits ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data,
  };
}

function failure(subject: string, what: string, error: unknown, feeds: Record<string, Ort.Tensor> = {}): TersorError {
  if (error instanceof TersorError) return error;
  const fed = Object.entries(feeds).map(([name, { type, dims }]) => `"${name}" ${type} [${dims.join(", ")}]`);
  const message = `${subject}: ${what}: ${cleaned(messageOf(error))}`;
  return new TersorError("runtime-failed", fed.length > 0 ? `${message} Feeds: ${fed.join(", ")}.` : message, {
    cause: error,
  });
}

/**
 * ONNX Runtime's own words: the first line, without the wrapper of the wasm build and the place in its C++ source, and
 * of nested nodes (If, Loop) the innermost.
 */
function cleaned(message: string): string {
  const text = (message.trim().split("\n")[0] ?? "")
    .replace(/^.*?ERROR_MESSAGE: /, "")
    .replace(/^.*running (\S+) node\. Name:'(.*?)' Status Message: /, 'node "$2" ($1): ')
    .replace(/\S+\.(?:cc|h|cpp):\d+ .*?\)(?: const)?(?: \[with .*?\])? /g, "")
    .trim();
  return /[.!?]$/.test(text) ? text : `${text || "no message"}.`;
}
