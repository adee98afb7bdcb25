/** @file A teacher: a model that is run on every batch and leaves its values where the student's loss reads them. */
import type { Batch } from "../data/batch.ts";
import { openModel } from "../evaluate/open-model.ts";
import type { Model } from "../ir/model.ts";
import type { IoInfo, Runtime, Session, SessionOptions } from "../runtime/runtime.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";

export class Teacher {
  readonly #session: Session;

  private constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Loads a teacher; `values` become its outputs: results inside of it too.
   * @throws bad-data for a value that it does not have
   */
  static async open(
    model: Model,
    values: readonly string[],
    runtime: Runtime,
    options: SessionOptions,
  ): Promise<Teacher> {
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
    return new Teacher(await openModel(copy, runtime, options));
  }

  /** Leaves the values for a batch in the runtime's slots. @throws shape-mismatch where the student's inputs do not suit the teacher */
  async run(batch: Batch, values: readonly string[], slot: (value: string) => string): Promise<void> {
    const write = Object.fromEntries(values.map((name) => [name, slot(name)]));
    await this.#session.run(feedsFor(this.#session.inputs, batch.inputs), [], { write });
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
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
