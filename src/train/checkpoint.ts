/** @file Checkpoints as bytes: the tensors as a .npz archive, the rest as JSON inside of it. */
import { decodeNpz, encodeNpz } from "../data/npy.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import type { Checkpoint, EpochRecord } from "./fit.ts";

/** What a checkpoint belongs to: another model, other data or other options would not go on to the same result. */
export type Identity = string;

const FORMAT = 1;
const ABOUT = "about";
const STATE = "state/";
const BEST = "best/";

interface About {
  readonly format: number;
  readonly identity: Identity;
  readonly step: number;
  readonly history: readonly EpochRecord[];
  readonly losses: readonly number[];
  readonly before?: number | undefined;
  readonly best?: { readonly epoch: number; readonly value: number } | undefined;
}

export function encodeCheckpoint(checkpoint: Checkpoint, identity: Identity): Uint8Array {
  const { state, best, step, history, losses, before } = checkpoint;
  const about: About = {
    format: FORMAT,
    identity,
    step,
    history,
    losses,
    before,
    best: best && { epoch: best.epoch, value: best.value },
  };
  const bytes = new TextEncoder().encode(JSON.stringify(about));
  const under = (prefix: string, tensors: Readonly<Record<string, HostTensor>> = {}) =>
    Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor] as const);
  return encodeNpz(
    Object.fromEntries([
      [ABOUT, hostTensor("uint8", [bytes.length], bytes)],
      ...under(STATE, state),
      ...under(BEST, best?.weights),
    ]),
  );
}

/** @throws bad-data for what is no checkpoint, and for one of another training */
export function decodeCheckpoint(bytes: Uint8Array, path: string, identity: Identity): Checkpoint {
  const arrays = decodeNpz(bytes, path);
  const about = aboutOf(arrays[ABOUT], path);
  if (about.identity !== identity)
    throw new TersorError(
      "bad-data",
      `checkpoint "${path}": belongs to another training: the model, the data or an option that matters is not the same. Train from the start without resume, or name another checkpoint.`,
    );
  const under = (prefix: string) =>
    Object.fromEntries(
      Object.entries(arrays).flatMap(([name, tensor]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), tensor] as const] : [],
      ),
    );
  const { best, step, history, losses, before } = about;
  return {
    step,
    history,
    losses,
    before,
    state: under(STATE),
    best: best && { ...best, weights: under(BEST) },
  };
}

function aboutOf(tensor: HostTensor | undefined, path: string): About {
  try {
    const about = JSON.parse(new TextDecoder().decode(tensor?.data as Uint8Array)) as About;
    if (about.format === FORMAT) return about;
  } catch {
    // Said below.
  }
  throw new TersorError(
    "bad-data",
    `checkpoint "${path}": expected one that tersor wrote (format ${FORMAT}), got another file. Name another one.`,
  );
}
