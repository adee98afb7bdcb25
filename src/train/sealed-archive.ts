/** @file What training writes and reads again: tensors and JSON in one .npz archive, with a checksum over all of it. */
import { decodeNpz, encodeNpz } from "../data/npy.ts";
import { type HostTensor, hostTensor } from "../tensor/host-tensor.ts";
import { fnv1a64 } from "../util/hash.ts";
import { parseJson } from "../util/json.ts";

const ABOUT = "about";
const SEAL = "seal";

type Tensors = ReadonlyMap<string, HostTensor>;

export interface SealedArchive {
  readonly about: unknown;
  readonly tensors: Tensors;
}

const encoder = new TextEncoder();
const textTensor = (text: string) => {
  const bytes = encoder.encode(text);
  return hostTensor("uint8", [bytes.length], bytes);
};
const textOf = (tensor: HostTensor | undefined) => new TextDecoder().decode(tensor?.data as Uint8Array | undefined);

export function encodeSealed(about: object, tensors: Tensors): Uint8Array {
  const all = new Map([[ABOUT, textTensor(JSON.stringify(about))], ...tensors]);
  return encodeNpz(Object.fromEntries([...all, [SEAL, textTensor(sealOf(all))]]));
}

/** @throws an Error: for what is no such archive, and for one where anything is not as it was written */
export function decodeSealed(bytes: Uint8Array, path: string): SealedArchive {
  const { [SEAL]: seal, ...rest } = decodeNpz(bytes, path);
  const all = new Map(Object.entries(rest));
  if (!seal || !all.has(ABOUT)) throw new Error("it has no checksum");
  if (textOf(seal) !== sealOf(all)) throw new Error("its checksum does not fit: it is damaged, or was changed");
  const about = parseJson(textOf(all.get(ABOUT)));
  all.delete(ABOUT);
  return { about, tensors: all };
}

/** Over names, types, dims and bytes, in the order of the archive. */
function sealOf(tensors: Tensors): string {
  return fnv1a64(
    (function* () {
      for (const [name, { dtype, dims, data }] of tensors) {
        yield encoder.encode(JSON.stringify([name, dtype, dims]));
        if (!Array.isArray(data)) yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      }
    })(),
  );
}
