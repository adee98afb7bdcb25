/** @file The world of steps in memory, on any platform: models are handed to the runtime as bytes, files are refused. */
import type { Dataset } from "../data/dataset.ts";
import type { InputInfo } from "../data/fit-input.ts";
import { datasetFrom, isSamples } from "../data/samples.ts";
import { type ChosenMetric, chooseMetric, type MetricSpec } from "../evaluate/choose-metric.ts";
import { openModel } from "../evaluate/open-model.ts";
import { runConstants } from "../evaluate/run-constants.ts";
import type { Model } from "../ir/model.ts";
import { encodeModel } from "../ir/serde/encode-model.ts";
import { type ModelLike, modelFrom } from "../recipe/model-like.ts";
import type { DataSpec, ModelSize, OpenModelOptions, StepContext, StepFiles } from "../recipe/step.ts";
import { ortWeb } from "../runtime/ort-web.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { type Env, progressTo } from "./env.ts";

export class MemoryContext implements StepContext {
  readonly original: Model;
  readonly seed: number;
  readonly dryRun = false;
  readonly signal: AbortSignal;
  readonly progress: StepContext["progress"];
  readonly files: StepFiles = { read: noFiles, readOwn: noFiles, write: noFiles, append: noFiles };
  readonly #runtime: Runtime;
  readonly #data: Env["data"];

  constructor(original: Model, env: Env) {
    this.original = original;
    this.seed = env.seed ?? 0;
    this.signal = env.signal ?? new AbortController().signal;
    this.progress = progressTo(env);
    this.#runtime = env.runtime ?? ortWeb();
    this.#data = env.data;
  }

  /** By the one runtime that there is, whatever name is asked for. */
  open(model: Model, { runtime: _, ...settings }: OpenModelOptions): Promise<Session> {
    return openModel(model, this.#runtime, { ...settings, signal: this.signal });
  }

  evaluate(model: Model): Promise<readonly Tensor[]> {
    return runConstants(model, this.#runtime, this.signal);
  }

  async size(model: Model): Promise<ModelSize> {
    return { bytes: encodeModel(model, { external: "never" }).model.byteLength };
  }

  discard(): void {}

  async data(spec: DataSpec | undefined, inputs: readonly InputInfo[]): Promise<Dataset | undefined> {
    const given = spec ?? this.#data;
    if (given === undefined) return undefined;
    if (isSamples(given)) return datasetFrom(given, { name: "samples", inputs });
    throw new TersorError(
      "bad-data",
      `data ${JSON.stringify(given)}: there are no files here: expected samples. Give an array, a generator function or a Dataset.`,
    );
  }

  metric(spec: MetricSpec): Promise<ChosenMetric> {
    return chooseMetric(spec, { readText: noFiles, loadModule: noFiles });
  }

  async runtime(): Promise<Runtime> {
    return this.#runtime;
  }

  model(given: ModelLike): Promise<Model> {
    return modelFrom(given);
  }
}

function noFiles(path: string): Promise<never> {
  return Promise.reject(
    new TersorError("bad-recipe", `"${path}": there are no files here: expected what can be given in memory.`),
  );
}
