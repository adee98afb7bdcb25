/** @file Tensors that stay where models run: what one run leaves there, the next one takes, without a message or a copy. */

import type { HostTensor } from "../tensor/host-tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import { freeMemory } from "./free-memory.ts";
import type { Feeds, IoInfo, Outputs } from "./io.ts";

/** Shared by the sessions of one runtime. The tensors belong to the runtime: what goes in is not to be written any more. */
export interface Slots {
  put(tensors: Feeds): Promise<void>;
  /** Copies. @throws bad-data for a name that holds nothing. */
  get(names: readonly string[]): Promise<Outputs>;
  /** Names that hold nothing are ignored. */
  drop(names: readonly string[]): Promise<void>;
}

/** Input or output names, and the slot that each uses. */
export type SlotMap = Readonly<Record<string, string>>;

export class MemorySlots implements Slots {
  readonly #tensors = new Map<string, HostTensor>();
  /** Tensors that runs left here: nobody else has them. */
  readonly #own = new WeakSet<HostTensor>();

  async put(tensors: Feeds): Promise<void> {
    for (const [name, tensor] of Object.entries(tensors)) this.#replace(name, tensor);
  }

  async get(names: readonly string[]): Promise<Outputs> {
    return Object.fromEntries(names.map((name) => [name, copied(this.#at(name))]));
  }

  async drop(names: readonly string[]): Promise<void> {
    for (const name of names) this.#replace(name, undefined);
  }

  /** Takes over what a run wrote: nobody else may have it. */
  take(tensors: Feeds): void {
    for (const [name, tensor] of Object.entries(tensors)) {
      this.#replace(name, tensor);
      this.#own.add(tensor);
    }
  }

  /**
   * The feeds, and what slots hold for the inputs that `read` names. An input of fixed dims takes a tensor of as many elements in
   * these dims: what wrote it may have had others.
   */
  fill(feeds: Feeds, read: SlotMap, inputs: readonly IoInfo[]): Feeds {
    const known = new Map(inputs.map(({ name, dims }) => [name, dims]));
    const filled = Object.entries(read).map(([input, slot]) => {
      const tensor = this.#at(slot);
      const dims = known.get(input) ?? [];
      const isFixed = dims.every((dim) => typeof dim === "number");
      const fits = isFixed && elementCount(dims) === elementCount(tensor.dims);
      return [input, fits ? { ...tensor, dims } : tensor] as const;
    });
    return { ...feeds, ...Object.fromEntries(filled) };
  }

  #replace(name: string, next: HostTensor | undefined): void {
    const last = this.#tensors.get(name);
    if (next) this.#tensors.set(name, next);
    else this.#tensors.delete(name);
    if (last && last !== next && this.#own.has(last)) freeMemory(last);
  }

  #at(name: string): HostTensor {
    const tensor = this.#tensors.get(name);
    if (tensor) return tensor;
    throw new TersorError("bad-data", `slot "${name}": holds nothing. Put a tensor there, or let a run write it.`);
  }
}

function copied({ data, ...tensor }: HostTensor): HostTensor {
  return { ...tensor, data: data.slice() as HostTensor["data"] };
}
