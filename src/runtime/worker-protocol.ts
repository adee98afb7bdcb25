/** @file A runtime on the other side of a message port: `serve` in the worker, `connect` here. Knows no kind of worker. */
import type { DType } from "../tensor/dtype.ts";
import { type TypedArray, viewAs } from "../tensor/tensor.ts";
import { type ErrorCode, messageOf, TersorError } from "../util/errors.ts";
import { abortable, throwIfAborted } from "./abort.ts";
import { checkFeeds, splitFetches } from "./feeds.ts";
import type { Feeds, IoInfo, Outputs } from "./io.ts";
import type { CallOptions, HostTensor, ModelSource, RunOptions, Runtime, Session, SessionOptions } from "./runtime.ts";
import type { SlotMap, Slots } from "./slots.ts";

/** What a worker_threads port, a Worker and a browser's worker scope have in common, after a line of adaptation. */
export interface Port {
  send(message: unknown, transfer: readonly ArrayBuffer[]): void;
  onMessage(handler: (message: unknown) => void): void;
}

interface SessionInfo {
  readonly session: number;
  readonly inputs: readonly IoInfo[];
  readonly outputs: readonly IoInfo[];
  readonly loadMs: number;
}

/** Every call: what goes over (args) and what comes back (result). */
interface Calls {
  create: { args: { model: ModelSource; options: SessionOptions }; result: SessionInfo };
  run: { args: RunArgs; result: Outputs };
  time: { args: { session: number; feeds: Feeds; runs: number }; result: Float64Array };
  release: { args: { session: number }; result: null };
  put: { args: { tensors: Feeds }; result: null };
  get: { args: { names: readonly string[] }; result: Outputs };
  drop: { args: { names: readonly string[] }; result: null };
}

interface RunArgs {
  readonly session: number;
  readonly feeds: Feeds;
  readonly fetches: readonly string[];
  readonly read: SlotMap;
  readonly write: SlotMap;
}
type CallName = keyof Calls;

interface Request {
  readonly id: number;
  readonly call: CallName;
  readonly args: Calls[CallName]["args"];
}

interface Reply {
  readonly id: number;
  readonly result?: Calls[CallName]["result"];
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

/** The worker's side: carries out the calls that arrive, one after another. */
export function serve(port: Port, runtime: Runtime): void {
  // Released ones stay: they answer a late call with a clear error.
  const sessions: Session[] = [];
  const session = (id: number) => sessions[id] as Session;
  const calls: { [K in CallName]: (args: Calls[K]["args"]) => Promise<Calls[K]["result"]> } = {
    create: async ({ model, options }) => {
      const created = await runtime.create(model, options);
      const { inputs, outputs, loadMs } = created;
      return { session: sessions.push(created) - 1, inputs, outputs, loadMs };
    },
    run: ({ feeds, fetches, read, write, ...args }) => session(args.session).run(feeds, fetches, { read, write }),
    time: (args) => session(args.session).time(args.feeds, args.runs),
    release: async (args) => {
      await session(args.session).release();
      return null;
    },
    put: async ({ tensors }) => {
      await runtime.slots.put(tensors);
      return null;
    },
    get: ({ names }) => runtime.slots.get(names),
    drop: async ({ names }) => {
      await runtime.slots.drop(names);
      return null;
    },
  };
  const answer = async ({ id, call, args }: Request): Promise<void> => {
    try {
      const result = await calls[call](args as never);
      port.send({ id, result } satisfies Reply, call === "run" || call === "get" ? buffersOf(result as Outputs) : []);
    } catch (error) {
      const code = error instanceof TersorError ? error.code : "runtime-failed";
      port.send({ id, error: { code, message: messageOf(error) } } satisfies Reply, []);
    }
  };
  let last: Promise<void> = Promise.resolve();
  port.onMessage((request) => {
    last = last.then(() => answer(request as Request));
  });
}

/** The caller's end of a port. */
export interface Connection {
  readonly runtime: Runtime;
  /** Rejects all calls, pending and to come: the worker is gone. */
  fail(reason: TersorError): void;
}

/** What the owner of the worker has to know. */
export interface ConnectionEvents {
  /** The number of calls in flight changed. */
  readonly pending?: (count: number) => void;
  /** A caller gave up on a call that is being carried out: the worker is to be ended. */
  readonly abandoned?: () => void;
}

/** The caller's side: a runtime named `name` whose work is done by `serve` at the other end of the port. */
export function connect(port: Port, name: string, events: ConnectionEvents = {}): Connection {
  const pending = new Map<number, { resolve: (result: never) => void; reject: (error: TersorError) => void }>();
  let nextId = 0;
  let gone: TersorError | undefined;
  port.onMessage((message) => {
    const { id, result, error } = message as Reply;
    const call = pending.get(id);
    if (!call) return;
    pending.delete(id);
    events.pending?.(pending.size);
    if (error) call.reject(new TersorError(error.code, error.message));
    else call.resolve(result as never);
  });

  const call: Caller = (kind, args, transfer, signal) => {
    throwIfAborted(signal, name);
    const reply = new Promise<Calls[typeof kind]["result"]>((resolve, reject) => {
      if (gone) throw gone;
      const id = nextId++;
      port.send({ id, call: kind, args } satisfies Request, transfer);
      pending.set(id, { resolve, reject });
      events.pending?.(pending.size);
    });
    return abortable(reply, signal, name, events.abandoned);
  };
  const slots: Slots = {
    put: async (feeds) => {
      const tensors = copiesOf(feeds);
      await call("put", { tensors }, buffersOf(tensors));
    },
    get: (names) => call("get", { names }, []),
    drop: async (names) => void (await call("drop", { names }, [])),
  };
  return {
    runtime: {
      name,
      slots,
      create: async (source, { signal, ...options } = {}) => {
        const model = source instanceof Uint8Array ? new Uint8Array(source) : { ...source };
        const externalData = options.externalData?.map(({ path, data }) => ({ path, data: new Uint8Array(data) }));
        const copies = [
          ...(model instanceof Uint8Array ? [model] : []),
          ...(externalData ?? []).map(({ data }) => data),
        ];
        const info = await call(
          "create",
          { model, options: externalData ? { ...options, externalData } : options },
          copies.map(({ buffer }) => buffer as ArrayBuffer),
          signal,
        );
        return new RemoteSession(info, call);
      },
    },
    fail: (reason) => {
      gone ??= reason;
      for (const { reject } of pending.values()) reject(gone);
      pending.clear();
      events.pending?.(0);
    },
  };
}

type Caller = <K extends CallName>(
  kind: K,
  args: Calls[K]["args"],
  transfer: readonly ArrayBuffer[],
  signal?: AbortSignal,
) => Promise<Calls[K]["result"]>;

class RemoteSession implements Session {
  readonly inputs: readonly IoInfo[];
  readonly outputs: readonly IoInfo[];
  readonly loadMs: number;
  readonly #id: number;
  readonly #call: Caller;
  #released: Promise<unknown> | undefined;

  constructor(info: SessionInfo, call: Caller) {
    this.#id = info.session;
    this.#call = call;
    this.inputs = info.inputs;
    this.outputs = info.outputs;
    this.loadMs = info.loadMs;
  }

  async run(feeds: Feeds, fetches?: readonly string[], options: RunOptions = {}): Promise<Outputs> {
    const { read = {}, write = {}, signal } = options;
    checkFeeds(
      this.inputs.filter(({ name }) => !Object.hasOwn(read, name)),
      feeds,
    );
    const copies = copiesOf(feeds);
    const [names] = splitFetches(this.outputs, fetches, write);
    const args = { session: this.#id, feeds: copies, fetches: names, read, write };
    return this.#call("run", args, buffersOf(copies), signal);
  }

  async time(feeds: Feeds, runs: number, options: CallOptions = {}): Promise<Float64Array> {
    checkFeeds(this.inputs, feeds);
    const copies = copiesOf(feeds);
    return this.#call("time", { session: this.#id, feeds: copies, runs }, buffersOf(copies), options.signal);
  }

  async release(): Promise<void> {
    this.#released ??= this.#call("release", { session: this.#id }, []);
    await this.#released;
  }
}

/** Copies to hand over: the caller keeps its arrays, and a view of a big buffer does not drag all of it along. */
function copiesOf(feeds: Feeds): Record<string, HostTensor> {
  const copy = ({ dtype, dims, data }: HostTensor): HostTensor => ({
    dtype,
    dims: [...dims],
    data: copyOf(dtype, data),
  });
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, copy(tensor)]));
}

const copyOf = (dtype: DType, data: TypedArray | string[]) =>
  Array.isArray(data)
    ? data.slice()
    : viewAs(dtype, new Uint8Array(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));

/** The buffers that tensors own whole, each once, to be transferred instead of copied. */
function buffersOf(tensors: Readonly<Record<string, HostTensor>>): ArrayBuffer[] {
  const buffers = Object.values(tensors).flatMap(({ data }) =>
    !Array.isArray(data) && data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength
      ? [data.buffer]
      : [],
  );
  return [...new Set(buffers)];
}
