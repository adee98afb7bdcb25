/** @file Models as users have them, and as bytes. */
import { modelBytes } from "../evaluate/open-model.ts";
import { Model } from "../ir/model.ts";
import { decodeModel } from "../ir/serde/decode-model.ts";
import { openBlob } from "../util/blob-source.ts";
import { MemorySource } from "../util/bytes.ts";
import { TersorError } from "../util/errors.ts";

/** A model: bytes of an .onnx file, a File or Blob, a model in memory, or, in Node, a path. */
export type ModelLike = Model | Uint8Array | ArrayBuffer | Blob | string;

export function isModel(value: unknown): value is Exclude<ModelLike, string> {
  return (
    value instanceof Model ||
    value instanceof Uint8Array ||
    value instanceof ArrayBuffer ||
    (typeof Blob !== "undefined" && value instanceof Blob)
  );
}

/**
 * The model in memory; its weights are read when they are needed.
 * @param load reads a path; absent where there is no file system
 * @throws bad-model, limit-exceeded for bytes that are no sound model; bad-recipe for anything else
 */
export async function modelFrom(given: ModelLike, load?: (path: string) => Model): Promise<Model> {
  if (given instanceof Model) return given;
  if (given instanceof Uint8Array) return decodeModel(new MemorySource(given), { name: "model" });
  if (given instanceof ArrayBuffer) return decodeModel(new MemorySource(new Uint8Array(given)), { name: "model" });
  if (typeof given === "string" && load) return load(given);
  if (isModel(given)) {
    const name = "name" in given && typeof given.name === "string" ? given.name : "model";
    return decodeModel(await openBlob(given), { name });
  }
  const got = typeof given === "string" ? `the path "${given}", which only Node reads` : typeof given;
  throw new TersorError(
    "bad-recipe",
    `model: expected the bytes of an .onnx file, a Blob or a Model, got ${got}. Read the file and give its bytes.`,
  );
}

/** The bytes of an .onnx file, weights inside. @throws limit-exceeded above 2 GB */
export function toBytes(model: Model): Uint8Array {
  return modelBytes(model);
}

/** A model whose weights are computed while it is written, with all of them computed. @throws limit-exceeded above 2 GB */
export function computed(model: Model): Model {
  return decodeModel(new MemorySource(toBytes(model)), { name: "model" });
}
