/** @file Checkpoints as bytes: the tensors and the rest in one archive with a checksum. */
import * as z from "zod";
import type { HostTensor } from "../tensor/host-tensor.ts";
import { messageOf, TersorError } from "../util/errors.ts";
import type { Checkpoint } from "./fit.ts";
import { decodeSealed, encodeSealed, type SealedArchive } from "./sealed-archive.ts";

/** What a checkpoint belongs to: another model, other data or other options would not go on to the same result. */
export type Identity = string;

const FORMAT = 2;
const STATE = "state/";
const BEST = "best/";

/** JSON has no words for what is infinite. */
const number = z.union([z.number(), z.enum(["Infinity", "-Infinity", "NaN"]).transform(Number)]);
const count = z.int().nonnegative();

const aboutSchema = z.strictObject({
  format: z.literal(FORMAT),
  identity: z.string(),
  step: count,
  history: z.array(
    z.strictObject({ epoch: count, steps: count, loss: number, rate: number, validation: number.optional() }),
  ),
  losses: z.array(number),
  before: number.optional(),
  best: z.strictObject({ epoch: count, value: number }).optional(),
});

export function encodeCheckpoint(checkpoint: Checkpoint, identity: Identity): Uint8Array {
  const { state, best, step, history, losses, before } = checkpoint;
  const about = {
    format: FORMAT,
    identity,
    step,
    history,
    losses,
    before,
    best: best && { epoch: best.epoch, value: best.value },
  };
  const under = (prefix: string, tensors: Readonly<Record<string, HostTensor>> = {}) =>
    Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor] as const);
  return encodeSealed(spelled(about) as object, new Map([...under(STATE, state), ...under(BEST, best?.weights)]));
}

/** Numbers as JSON can have them. */
function spelled(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (Array.isArray(value)) return value.map(spelled);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, spelled(inner)]));
}

/** @throws bad-data for what is no checkpoint or a damaged one, and for one of another training */
export function decodeCheckpoint(bytes: Uint8Array, path: string, identity: Identity): Checkpoint {
  const { about: written, tensors } = contentsOf(bytes, path);
  const about = aboutSchema.safeParse(written).data;
  if (!about) throw refused(path, "it is of another version");
  if (about.identity !== identity)
    throw new TersorError(
      "bad-data",
      `checkpoint "${path}": belongs to another training: the model, the data or an option that matters is not the same. Train from the start without resume, or name another checkpoint.`,
    );
  const under = (prefix: string) =>
    Object.fromEntries(
      [...tensors].flatMap(([name, tensor]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), tensor] as const] : [],
      ),
    );
  const { best, step, history, losses, before } = about;
  return {
    step,
    history: history.map(({ validation, ...record }) => ({
      ...record,
      ...(validation !== undefined && { validation }),
    })),
    losses,
    before,
    state: under(STATE),
    best: best && { ...best, weights: under(BEST) },
  };
}

function contentsOf(bytes: Uint8Array, path: string): SealedArchive {
  try {
    return decodeSealed(bytes, path);
  } catch (cause) {
    throw refused(path, messageOf(cause).replace(/\.$/, ""), cause);
  }
}

function refused(path: string, why: string, cause?: unknown): TersorError {
  return new TersorError(
    "bad-data",
    `checkpoint "${path}": expected one that tersor wrote (format ${FORMAT}), whole: ${why}. Train from the start without resume, or name another one.`,
    { cause },
  );
}
