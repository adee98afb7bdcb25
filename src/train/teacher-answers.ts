/** @file Answers of a teacher, kept by what it was asked: other samples, or the same ones prepared in another way, find nothing of what is there. */
import * as z from "zod";
import { type HostTensor, rowOf } from "../tensor/host-tensor.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import { fnv1a64 } from "../util/hash.ts";
import { decodeSealed, encodeSealed } from "./sealed-archive.ts";

/** Values of the teacher for one sample, by name; each with a leading dim of 1. */
export type Answer = Readonly<Record<string, HostTensor>>;

const FORMAT = 2;

const aboutSchema = z.strictObject({
  format: z.literal(FORMAT),
  /** Hash of the teacher. */
  teacher: z.string(),
  values: z.array(z.string()),
  /** Keys of the samples, in groups whose answers have the same shapes. */
  groups: z.array(z.array(z.string())),
});

export class TeacherAnswers {
  readonly #teacher: string;
  readonly #values: readonly string[];
  readonly #answers = new Map<string, Answer>();
  #added = 0;

  /** @param teacher its hash @param values names of what it is asked for */
  constructor(teacher: string, values: readonly string[]) {
    this.#teacher = teacher;
    this.#values = values;
  }

  get size(): number {
    return this.#answers.size;
  }

  /** Answers that were not there at first. */
  get added(): number {
    return this.#added;
  }

  get(key: string): Answer | undefined {
    return this.#answers.get(key);
  }

  add(key: string, answer: Answer): void {
    this.#answers.set(key, answer);
    this.#added++;
  }

  encode(): Uint8Array {
    const groups = new Map<string, [string, Answer][]>();
    for (const entry of this.#answers) {
      const shapes = this.#values.map((name) => entry[1][name]?.dims).join(";");
      const group = groups.get(shapes);
      if (group) group.push(entry);
      else groups.set(shapes, [entry]);
    }
    const lists = [...groups.values()];
    const about: z.input<typeof aboutSchema> = {
      format: FORMAT,
      teacher: this.#teacher,
      values: [...this.#values],
      groups: lists.map((entries) => entries.map(([key]) => key)),
    };
    const arrays = lists.flatMap((entries, group) =>
      this.#values.map((name, i) => {
        const rows = entries.map(([, answer]) => answer[name] as HostTensor);
        return [`${group}.${i}`, joined(rows)] as const;
      }),
    );
    return encodeSealed(about, new Map(arrays));
  }

  /**
   * Takes over what a file holds. False, and nothing taken, where it is of another teacher or of other values.
   * @throws bad-data for what is no file of answers: it is not to be overwritten
   */
  load(file: Uint8Array, path: string): boolean {
    const { about, tensors } = contentsOf(file, path);
    if (about.teacher !== this.#teacher || about.values.join("\n") !== this.#values.join("\n")) return false;
    about.groups.forEach((keys, group) => {
      keys.forEach((key, row) => {
        const values = this.#values.map((name, i) => [name, rowOf(tensors.get(`${group}.${i}`) as HostTensor, row)]);
        this.#answers.set(key, Object.fromEntries(values));
      });
    });
    return true;
  }
}

function contentsOf(file: Uint8Array, path: string) {
  try {
    const { about: written, tensors } = decodeSealed(file, path);
    const about = aboutSchema.safeParse(written).data;
    if (!about) throw new Error("it is of another version");
    const isWhole = about.groups.every((keys, group) =>
      about.values.every((_, i) => tensors.get(`${group}.${i}`)?.dims[0] === keys.length),
    );
    if (!isWhole) throw new Error("answers are missing");
    return { about, tensors };
  } catch (cause) {
    const why = messageOf(cause).replace(/\.$/, "");
    throw new TersorError(
      "bad-data",
      `cache "${path}": expected answers of a teacher that tersor wrote (format ${FORMAT}), whole, got another file: ${why}. It is left as it is: name another one, or remove it.`,
      { cause },
    );
  }
}

/** What a teacher is asked by one sample: the key of its answer. */
export function questionKey(inputs: Readonly<Record<string, HostTensor>>): string {
  const encoder = new TextEncoder();
  const chunks = Object.keys(inputs)
    .sort()
    .flatMap((name) => {
      const { dtype, dims, data } = inputs[name] as HostTensor;
      const bytes = Array.isArray(data)
        ? encoder.encode(JSON.stringify(data))
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return [encoder.encode(`${name} ${dtype} [${dims}]`), bytes];
    });
  return fnv1a64(chunks);
}

function joined(rows: readonly HostTensor[]): HostTensor {
  const [first] = rows as [HostTensor];
  const each = first.data.length;
  const Type = first.data.constructor as new (length: number) => Float32Array;
  const data = new Type(each * rows.length);
  rows.forEach((row, i) => void data.set(row.data as Float32Array, i * each));
  return { dtype: first.dtype, dims: [rows.length, ...first.dims.slice(1)], data };
}
