/** @file The world around steps in Node: files, workers, data. */
import { statSync } from "node:fs";
import { basename, dirname, relative, resolve } from "node:path";
import { type Dataset, type SkippedSample, skippedSamples } from "../../data/dataset.ts";
import type { InputInfo } from "../../data/fit-input.ts";
import { DATA_RUNS_NOTHING } from "../../data/options.ts";
import { datasetFrom, isSamples } from "../../data/samples.ts";
import type { ChosenMetric, MetricSpec } from "../../evaluate/choose-metric.ts";
import type { Model } from "../../ir/model.ts";
import { loadModel } from "../../node/load.ts";
import { brotliQualityFor, measureSize } from "../../node/size.ts";
import { checkMemory } from "../../ops/memory.ts";
import type { MethodPool } from "../../quantize/lazy/pool/method-pool.ts";
import type { RuntimeName } from "../../runtime/names.ts";
import type { Session } from "../../runtime/runtime.ts";
import type { WorkerRuntime } from "../../runtime/worker-runtime.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { readRegular } from "../../util/regular-file.ts";
import { type ModelLike, modelFrom } from "../model-like.ts";
import type { DataSpec, ModelSize, OpenModelOptions, StepContext, StepFiles } from "../step.ts";
import { FileGuard } from "./file-guard.ts";
import { modelFiles } from "./files.ts";
import type { NodeMethodPool } from "./method-pool.ts";
import { stepFiles } from "./step-files.ts";
import type { Workspace } from "./workspace.ts";

export interface NodeContextOptions {
  readonly original: Model;
  /** Models that are files already. */
  readonly paths: ReadonlyMap<Model, string>;
  /** Where other models are written when they must be; absent where there are none. */
  readonly workspace?: Workspace;
  readonly seed: number;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly progress: StepContext["progress"];
  /** Data of the recipe. */
  readonly data?: DataSpec | undefined;
  /** Options on top of those of the data's spec. */
  readonly dataOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Threads that run long methods; none when absent. "auto": as many as the machine and the work suggest. */
  readonly workers?: number | "auto";
  /** What paths in recipes are relative to. */
  readonly folder: string;
  /** Is told of everything that is read. */
  readonly guard?: FileGuard;
  /** Whether what names data and metrics may name modules, which run; not where it was data itself. Default true. */
  readonly modules?: boolean;
}

/** The unreadable samples of one dataset. */
export interface SkippedData {
  readonly data: string;
  readonly samples: readonly SkippedSample[];
}

/** Ends with its worker: close it. */
export class NodeContext implements StepContext {
  readonly original: Model;
  readonly seed: number;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly progress: StepContext["progress"];
  readonly #options: NodeContextOptions;
  readonly #runtimes = new Map<RuntimeName, WorkerRuntime>();
  readonly #opened: Dataset[] = [];
  readonly #guard: FileGuard;
  readonly #models: Model[] = [];
  #pool: NodeMethodPool | undefined;

  constructor(options: NodeContextOptions) {
    this.#options = options;
    this.#guard = options.guard ?? new FileGuard();
    this.original = options.original;
    this.seed = options.seed;
    this.dryRun = options.dryRun;
    this.signal = options.signal;
    this.progress = options.progress;
  }

  async open(model: Model, { runtime: name, ...settings }: OpenModelOptions): Promise<Session> {
    checkMemory(model);
    const [path = "", ...data] = await this.#files(model);
    const runtime = await this.runtime(name);
    const options = { ...settings, signal: this.signal };
    // What lies in the workspace is named as it will be: a place of one run is in no message, nor in a report.
    const named = this.#options.paths.has(model) ? {} : { name: basename(path) };
    if (name === "ort-node") return runtime.create({ path, ...named }, options);
    // The wasm build has no file system: it is handed all bytes.
    const location = (file: string) => relative(dirname(path), file).replaceAll("\\", "/");
    const externalData = data.map((file) => ({ path: location(file), data: readRegular(file) }));
    return runtime.create(readRegular(path), { ...options, ...(data.length > 0 && { externalData }) });
  }

  async evaluate(model: Model): Promise<readonly Tensor[]> {
    const { runConstants } = await import("../../evaluate/run-constants.ts");
    return runConstants(model, await this.runtime("ort-node"), this.signal);
  }

  async size(model: Model, { compressed }: { readonly compressed: boolean }): Promise<ModelSize> {
    const files = await this.#files(model);
    const bytesOf = (paths: readonly string[]) => paths.reduce((sum, file) => sum + statSync(file).size, 0);
    if (!compressed) return { bytes: bytesOf(files) };
    // One quality for all models of a recipe: the one that suits the original.
    const brotliQuality = brotliQualityFor(bytesOf(await this.#files(this.original)));
    const { bytes, gzip, brotli } = await measureSize(files, { brotliQuality, signal: this.signal });
    return { bytes, gzip, brotli };
  }

  discard(model: Model): void {
    this.#options.workspace?.discard(model);
  }

  async data(spec: DataSpec | undefined, inputs: readonly InputInfo[]): Promise<Dataset | undefined> {
    const chosen = spec ?? this.#options.data;
    if (chosen === undefined) return undefined;
    if (isSamples(chosen)) return datasetFrom(chosen, { name: "samples", inputs });
    const { openData } = await import("../../data/node/open-data.ts");
    const { dataOptions, folder, modules = true } = this.#options;
    const dataset = await openData(chosen, {
      inputs,
      folder,
      modules,
      onRead: (path) => this.#guard.reads(path),
      ...(dataOptions && { options: dataOptions }),
    });
    this.#opened.push(dataset);
    return dataset;
  }

  /** What was left out of the data so far, each sample once. */
  skipped(): readonly SkippedData[] {
    const byName = new Map<string, Map<string, SkippedSample>>();
    for (const dataset of this.#opened)
      for (const sample of skippedSamples(dataset))
        byName.set(dataset.name, (byName.get(dataset.name) ?? new Map()).set(sample.id, sample));
    return [...byName].map(([data, samples]) => ({ data, samples: [...samples.values()] }));
  }

  async metric(spec: MetricSpec): Promise<ChosenMetric> {
    const [{ chooseMetric }, { readText }, { loadModule }] = await Promise.all([
      import("../../evaluate/choose-metric.ts"),
      import("../../data/node/files.ts"),
      import("../../data/node/module.ts"),
    ]);
    const locate = (path: string) => {
      const located = resolve(this.#options.folder, path);
      this.#guard.reads(located);
      return located;
    };
    const { modules = true } = this.#options;
    return chooseMetric(spec, {
      readText: (path) => readText(locate(path)),
      loadModule: (path) => {
        if (modules) return loadModule(locate(path));
        throw new TersorError("bad-recipe", `metric "${path}": ${DATA_RUNS_NOTHING}`);
      },
    });
  }

  async runtime(name: RuntimeName): Promise<WorkerRuntime> {
    const { workerRuntime } = await import("../../runtime/worker-runtime.ts");
    const runtime = this.#runtimes.get(name) ?? workerRuntime(name);
    this.#runtimes.set(name, runtime);
    return runtime;
  }

  async model(path: ModelLike): Promise<Model> {
    if (typeof path !== "string") return modelFrom(path);
    const located = resolve(this.#options.folder, path);
    this.#guard.check(located);
    const model = loadModel(located);
    this.#models.push(model);
    for (const file of modelFiles(model, located)) this.#guard.reads(file, true);
    return model;
  }

  get files(): StepFiles {
    return stepFiles(this.#options.folder, this.#guard);
  }

  methodPool = async (work: number): Promise<MethodPool | undefined> => {
    const { workers: asked = 0 } = this.#options;
    if (asked === 0) return undefined;
    const { methodPool, workersFor } = await import("./method-pool.ts");
    const workers = workersFor(work, asked);
    if (workers > 0) this.#pool ??= methodPool(workers);
    return workers > 0 ? this.#pool : undefined;
  };

  async close(): Promise<void> {
    const live = [...this.#runtimes.values(), ...(this.#pool ? [this.#pool] : [])];
    await Promise.all(live.map((each) => each.close()));
    for (const model of this.#models.splice(0)) model.close();
  }

  async #files(model: Model): Promise<string[]> {
    const path = this.#options.paths.get(model);
    if (path !== undefined) return modelFiles(model, path);
    const saved = await this.#options.workspace?.write(model);
    return saved ? [saved.path, ...saved.dataPaths] : [];
  }
}
