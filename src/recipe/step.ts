/** @file The one interface that every step of a recipe implements, and what a step is given. Types only. */
import type { z } from "zod";
import type { Dataset } from "../data/dataset.ts";
import type { InputInfo } from "../data/fit-input.ts";
import type { Samples } from "../data/samples.ts";
import type { ChosenMetric, MetricSpec } from "../evaluate/choose-metric.ts";
import type { Model } from "../ir/model.ts";
import type { MethodPool } from "../quantize/lazy/pool/method-pool.ts";
import type { RuntimeName } from "../runtime/names.ts";
import type { Runtime, Session, SessionOptions } from "../runtime/runtime.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Something that is done to a model, or measured of it: a row of the list in recipe/steps.ts. */
export interface Step<Schema extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** Of the ways that steps of one name have, the one that this row is: the option `mode`. */
  readonly mode?: string;
  readonly summary: string;
  /** Feeds the recipe parser, the command line, the JSON Schema and the docs. */
  readonly options: Schema;
  readonly needs: readonly ("calibration" | "training" | "teacher")[];
  /** The model that it gives computes what the one that it is given does, but for rounding. */
  readonly exact?: boolean;
  /**
   * Never changes `model`; returns it where there is nothing to do.
   * @param options parsed: checked, with every default filled in
   */
  run(model: Model, options: z.output<Schema>, ctx: StepContext): Promise<StepResult>;
  /** Files that it writes besides the model, by what they are called in messages. Paths are relative to the recipe's folder. */
  writes?(options: z.output<Schema>): readonly (readonly [what: string, path: string])[];
  /** The ways in which the step can treat layers better: what an accuracy bound searches. Absent where layers have no choice. */
  variants?(model: Model, options: z.output<Schema>, ctx: StepContext): Promise<StepVariants>;
}

/** A step with all that its runs share done once: calibration, say. */
export interface StepVariants {
  /** One for each layer that the step changes. */
  readonly ladders: readonly LayerLadder[];
  /** What `run` gives, with each layer on its level of its ladder; all 0 is what was asked for. */
  apply(levels: readonly number[]): Promise<StepResult>;
}

/** The ways of treating one layer: first as asked for, then better and better, last as it was. */
export interface LayerLadder {
  readonly name: string;
  /** Name of its weight. */
  readonly weight: string;
  /** Names of the values that its nodes compute. */
  readonly outputs: readonly string[];
  readonly rungs: readonly Rung[];
}

export interface Rung {
  /** Such as `int4 channel mse`. */
  readonly label: string;
  /** Bits per weight, scales included where they count; never less than on the rung before. */
  readonly bits: number;
}

export interface StepResult {
  readonly model: Model;
  /** What was done, as plain data for the manifest. Asked for after the model was written: some numbers are known only then. */
  report(): StepReport;
}

export interface StepReport {
  /** What the user should know. */
  readonly notes?: readonly string[];
  readonly [key: string]: unknown;
}

/** A path, the text of a JSON object, or the object: data and the options of its format, see data/node/open-data.ts; or samples in code. */
export type DataSpec = string | Readonly<Record<string, unknown>> | Samples;

export type ProgressUnit = "bytes" | "samples" | "rounds" | "seeds" | "layers";

/** An activity whose progress is shown. */
export interface Progress {
  /** @param note what else there is to say, such as the loss */
  update(done: number, note?: string): void;
  end(): void;
}

/** Weight of the files of a model, in bytes. */
export interface ModelSize {
  readonly bytes: number;
  /** As a server would send it; absent when not asked for. */
  readonly gzip?: number;
  readonly brotli?: number;
}

export interface OpenModelOptions extends Pick<SessionOptions, "threads" | "spinning" | "optimization" | "extra"> {
  readonly runtime: RuntimeName;
}

/** Files that a step keeps for itself, such as checkpoints; paths are relative to the recipe's folder. */
export interface StepFiles {
  /** An input. Undefined where there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** What an earlier run of the step wrote there. */
  readOwn(path: string): Promise<Uint8Array | undefined>;
  /** Whole or not at all: until it is done, what was there stays. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  append(path: string, text: string): Promise<void>;
}

/** What steps need of the world around: injected, so that the steps themselves run anywhere. */
export interface StepContext {
  /** The model as it was before the first step. */
  readonly original: Model;
  /** Seed of everything random whose step has no seed of its own. */
  readonly seed: number;
  /** Nothing is to be run or written: steps that measure say so and return. */
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** Loads a model into a runtime. The caller releases the session. */
  open(model: Model, options: OpenModelOptions): Promise<Session>;
  /** Computes a model without inputs: its outputs, in order. */
  evaluate(model: Model): Promise<readonly Tensor[]>;
  /** Weighs a model as a file. */
  size(model: Model, options: { readonly compressed: boolean }): Promise<ModelSize>;
  /** Gives up what was kept for a model that is no longer needed. */
  discard(model: Model): void;
  /** The data of a step, else of the recipe; undefined when neither names any. */
  data(spec: DataSpec | undefined, inputs: readonly InputInfo[]): Promise<Dataset | undefined>;
  metric(spec: MetricSpec): Promise<ChosenMetric>;
  /** The runtime that {@link open} loads models into. */
  runtime(name: RuntimeName): Promise<Runtime>;
  /** Another model, such as a teacher: by its path, or as it is. */
  model(given: string | Model | Uint8Array | ArrayBuffer | Blob): Promise<Model>;
  readonly files: StepFiles;
  /**
   * Workers for methods that compute for long; undefined where about `work` multiplications are not worth them. Absent: everything
   * is computed where the model is written.
   */
  readonly methodPool?: (work: number) => Promise<MethodPool | undefined>;
  progress(label: string, total: number, unit: ProgressUnit): Progress;
}
