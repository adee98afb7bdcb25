/** @file Ways to damage a model, one a row: its structure, as a message of protobuf that is edited, or its bytes. */
import type { Rng } from "../../../src/util/rng.ts";
import { graphMutations } from "./graph-mutations.ts";
import { type Parts, pick, type Structural } from "./parts.ts";
import { tensorMutations } from "./tensor-mutations.ts";

export type Bytewise = (bytes: Uint8Array, rng: Rng) => Uint8Array;

export const structural: Readonly<Record<string, Structural>> = {
  ...tensorMutations,
  ...graphMutations,
  "any place": anyPlace,
};

/** One name may stand for names here and for messages there. */
const kindOf = (value: unknown) => (Array.isArray(value) ? `${typeof value[0]}*` : typeof value);

/** Takes away, repeats or turns around whatever lies at some place of the message, or puts what lies at another of its name there. */
function anyPlace({ model }: Parts, rng: Rng): void {
  const places: { readonly holder: Record<string | number, unknown>; readonly key: string | number }[] = [];
  const waiting: unknown[] = [model];
  for (const holder of waiting) {
    if (typeof holder !== "object" || holder === null || ArrayBuffer.isView(holder) || "read" in holder) continue;
    for (const [key, value] of Object.entries(holder).slice(0, 64)) {
      places.push({ holder: holder as Record<string, unknown>, key });
      waiting.push(value);
    }
  }
  const { holder, key } = pick(places, rng) as (typeof places)[number];
  const value = holder[key];
  const other = pick(
    places.filter((place) => place.key === key && kindOf(place.holder[key]) === kindOf(value)),
    rng,
  );
  const kind = rng.int(3);
  if (Array.isArray(holder)) holder.splice(Number(key), kind === 0 ? 1 : 0, ...(kind === 1 ? [value] : []));
  else if (Array.isArray(value) && kind === 1) value.reverse();
  else if (other && kind === 2) holder[key] = other.holder[key];
  else delete holder[key];
}

const spliced = (bytes: Uint8Array, at: number, remove: number, insert: Uint8Array) => {
  const out = new Uint8Array(bytes.length - remove + insert.length);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(bytes.subarray(at + remove), at + insert.length);
  return out;
};

/** The first kilobyte, or anywhere: small models have their structure all over, larger ones mostly at both ends. */
const place = (bytes: Uint8Array, rng: Rng) => rng.int(rng.int(2) ? bytes.length : Math.min(bytes.length, 1024));

export const bytewise: Readonly<Record<string, Bytewise>> = {
  "flipped bit": (bytes, rng) => {
    const at = place(bytes, rng);
    return spliced(bytes, at, 1, Uint8Array.of((bytes[at] as number) ^ (1 << rng.int(8))));
  },
  "other bytes": (bytes, rng) => {
    const at = place(bytes, rng);
    const count = Math.min(1 + rng.int(16), bytes.length - at);
    return spliced(
      bytes,
      at,
      count,
      Uint8Array.from({ length: count }, () => rng.int(256)),
    );
  },
  truncated: (bytes, rng) => bytes.slice(0, place(bytes, rng)),
  "bytes gone": (bytes, rng) => {
    const at = place(bytes, rng);
    return spliced(bytes, at, Math.min(1 + rng.int(64), bytes.length - at), new Uint8Array(0));
  },
  "bytes twice": (bytes, rng) => {
    const at = place(bytes, rng);
    return spliced(bytes, at, 0, bytes.slice(at, at + 1 + rng.int(256)));
  },
  "a length of much": (bytes, rng) => spliced(bytes, place(bytes, rng), 1, new Uint8Array(9).fill(0xff)),
};
