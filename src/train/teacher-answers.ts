/** @file Answers of a teacher, kept by what it was asked: other samples, or the same ones prepared in another way, find nothing of what is there. */
import { decodeNpz, encodeNpz } from "../data/npy.ts";
import { type HostTensor, hostTensor, rowOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { fnv1a64 } from "../util/hash.ts";

/** Values of the teacher for one sample, by name; each with a leading dim of 1. */
export type Answer = Readonly<Record<string, HostTensor>>;

const FORMAT = 1;
const ABOUT = "about";

interface About {
  readonly format: number;
  /** Of the teacher. */
  readonly teacher: string;
  readonly values: readonly string[];
  /** Keys of the samples, in groups whose answers have the same shapes. */
  readonly groups: readonly (readonly string[])[];
}

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
    const about: About = {
      format: FORMAT,
      teacher: this.#teacher,
      values: this.#values,
      groups: lists.map((entries) => entries.map(([key]) => key)),
    };
    const bytes = new TextEncoder().encode(JSON.stringify(about));
    const arrays = lists.flatMap((entries, group) =>
      this.#values.map((name, i) => [`${group}.${i}`, joined(entries.map(([, answer]) => answer[name] as HostTensor))]),
    );
    return encodeNpz({ [ABOUT]: hostTensor("uint8", [bytes.length], bytes), ...Object.fromEntries(arrays) });
  }

  /**
   * Takes over what a file holds. False, and nothing taken, where it is of another teacher or of other values.
   * @throws bad-data for what is no file of answers: it is not to be overwritten
   */
  load(file: Uint8Array, path: string): boolean {
    const { about, arrays } = contentsOf(file, path);
    if (about.teacher !== this.#teacher || about.values.join("\n") !== this.#values.join("\n")) return false;
    about.groups.forEach((keys, group) => {
      keys.forEach((key, row) => {
        const values = this.#values.map((name, i) => [name, rowOf(arrays[`${group}.${i}`] as HostTensor, row)]);
        this.#answers.set(key, Object.fromEntries(values));
      });
    });
    return true;
  }
}

function contentsOf(file: Uint8Array, path: string) {
  try {
    const arrays = decodeNpz(file, path);
    const about = JSON.parse(new TextDecoder().decode(arrays[ABOUT]?.data as Uint8Array)) as About;
    const isWhole = about.groups.every((keys, group) =>
      about.values.every((_, i) => arrays[`${group}.${i}`]?.dims[0] === keys.length),
    );
    if (about.format === FORMAT && isWhole) return { about, arrays };
  } catch {
    // Said below.
  }
  throw new TersorError(
    "bad-data",
    `cache "${path}": expected answers of a teacher that tersor wrote (format ${FORMAT}), got another file. It is left as it is: name another one, or remove it.`,
  );
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
