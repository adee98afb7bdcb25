/** @file A teacher: a model that is run on every batch and leaves its values where the student's loss reads them. */
import { type Batch, batches, unbatch } from "../data/batch.ts";
import { datasetOf, type Sample } from "../data/dataset.ts";
import { modelBytes } from "../evaluate/open-model.ts";
import type { Model } from "../ir/model.ts";
import type { IoInfo, Outputs } from "../runtime/io.ts";
import type { Runtime, Session, SessionOptions } from "../runtime/runtime.ts";
import { describeTensor, type HostTensor, rowOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { fnv1a64 } from "../util/hash.ts";
import { nearestNames } from "../util/nearest.ts";
import { type Answer, questionKey, TeacherAnswers } from "./teacher-answers.ts";

export interface TeacherOptions {
  readonly runtime: Runtime;
  readonly session: SessionOptions;
  /** Whether answers are kept, and not computed again for a sample that was seen before. */
  readonly keepAnswers?: boolean;
}

export class Teacher {
  readonly #session: Session;
  readonly #runtime: Runtime;
  readonly #values: readonly string[];
  /** What was answered so far, where that is kept. */
  readonly answers: TeacherAnswers | undefined;

  private constructor(session: Session, runtime: Runtime, values: readonly string[], answers?: TeacherAnswers) {
    this.#session = session;
    this.#runtime = runtime;
    this.#values = values;
    this.answers = answers;
  }

  /**
   * Loads a teacher; `values` become its outputs: results inside of it too.
   * @throws bad-data for a value that it does not have
   */
  static async open(model: Model, values: readonly string[], options: TeacherOptions): Promise<Teacher> {
    const copy = model.clone();
    const { graph } = copy;
    for (const name of values) {
      const value = graph.find(name);
      if (!value) {
        const near = nearestNames(
          name,
          [...graph.values].map((each) => each.name),
        );
        const hint = near.length > 0 ? ` Did you mean ${near.join(", ")}?` : "";
        throw new TersorError("bad-data", `teacher: has no value "${name}".${hint}`);
      }
      if (!value.isOutput) graph.addOutput(value);
    }
    const { runtime, session, keepAnswers = false } = options;
    const bytes = modelBytes(copy);
    const answers = keepAnswers ? new TeacherAnswers(fnv1a64([bytes]), values) : undefined;
    return new Teacher(await runtime.create(bytes, session), runtime, values, answers);
  }

  /** Leaves its values for a batch in the runtime's slots. @throws shape-mismatch where the student's inputs do not suit the teacher */
  async run(batch: Batch, slot: (value: string) => string): Promise<void> {
    if (this.answers) return this.#recall(batch, this.answers, slot);
    const write = Object.fromEntries(this.#values.map((name) => [name, slot(name)]));
    await this.#session.run(feedsFor(this.#session.inputs, batch.inputs), [], { write });
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  /** Asks only for samples that were not seen before. */
  async #recall({ inputs, samples }: Batch, answers: TeacherAnswers, slot: (value: string) => string): Promise<void> {
    const rows = samples.map(({ id }, i): Sample => {
      const own = Object.entries(inputs).map(([name, tensor]) => [
        name,
        samples.length === 1 ? tensor : rowOf(tensor, i),
      ]);
      return { id, inputs: Object.fromEntries(own) };
    });
    const keys = rows.map((row) => questionKey(row.inputs));
    const unknown = rows.filter((_, i) => !answers.get(keys[i] as string));
    if (unknown.length > 0) {
      const feeds = feedsFor(this.#session.inputs, (await joined(unknown)).inputs);
      const outputs = await this.#session.run(feeds, this.#values);
      const asked = new Set(unknown);
      const keysOf = keys.filter((_, i) => asked.has(rows[i] as Sample));
      for (const [i, answer] of answersIn(outputs, unknown.length).entries()) answers.add(keysOf[i] as string, answer);
    }
    const known = rows.map(({ id }, i): Sample => ({ id, inputs: answers.get(keys[i] as string) as Answer }));
    const values = Object.entries((await joined(known)).inputs);
    await this.#runtime.slots.put(Object.fromEntries(values.map(([name, tensor]) => [slot(name), tensor])));
  }
}

async function joined(samples: readonly Sample[]): Promise<Batch> {
  for await (const batch of batches(datasetOf("teacher", samples), { size: samples.length })) return batch;
  return { samples, inputs: {} };
}

/** @throws bad-data for a value without a row for each sample */
function answersIn(outputs: Outputs, rows: number): readonly Answer[] {
  for (const [name, tensor] of Object.entries(outputs))
    if (tensor.dims[0] !== rows)
      throw new TersorError(
        "bad-data",
        `teacher: value "${name}" ${describeTensor(tensor)}: expected a row for each of ${rows} samples: it can't be kept for them one by one. Leave out cache.`,
      );
  // What is kept must not keep a whole batch in memory beside it, nor change with it.
  return unbatch(outputs, rows).map((answer) =>
    Object.fromEntries(
      Object.entries(answer).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]),
    ),
  );
}

/** Inputs of the same name; else in order, where there are as many. */
function feedsFor(inputs: readonly IoInfo[], given: Batch["inputs"]): Record<string, HostTensor> {
  const names = Object.keys(given);
  const inOrder = inputs.length === names.length && !inputs.every(({ name }) => names.includes(name));
  return Object.fromEntries(
    inputs.flatMap(({ name }, i) => {
      const tensor = given[inOrder ? (names[i] as string) : name];
      return tensor ? [[name, tensor] as const] : [];
    }),
  );
}
