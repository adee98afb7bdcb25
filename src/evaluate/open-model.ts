/** @file Loads a model that is in memory into a runtime, as one file. */
import type { Model } from "../ir/model.ts";
import { encodeModel } from "../ir/serde/encode-model.ts";
import { checkMemory } from "../ops/memory.ts";
import { writeTo } from "../proto/write.ts";
import type { Runtime, Session, SessionOptions } from "../runtime/runtime.ts";
import { MemorySink } from "../util/bytes.ts";

/** Encodes the model whole, weights inside, and loads it. @throws limit-exceeded above 2 GB; as Runtime.create */
export async function openModel(model: Model, runtime: Runtime, options?: SessionOptions): Promise<Session> {
  checkMemory(model);
  return runtime.create(modelBytes(model), options);
}

/** The model as one file. @throws limit-exceeded above 2 GB */
export function modelBytes(model: Model): Uint8Array {
  const sink = new MemorySink();
  writeTo(encodeModel(model, { external: "never" }).model, sink);
  return sink.bytes();
}
