/** @file What the library is run in on a platform: set by the entry point of Node, plain memory elsewhere. */
import type { Model } from "../ir/model.ts";
import type { StepContext } from "../recipe/step.ts";
import type { Env } from "./env.ts";
import { MemoryContext } from "./memory-context.ts";

/** What steps are run in. */
export interface World {
  readonly context: StepContext;
  close(): Promise<void>;
}

/** The world of a platform. */
export interface Platform {
  /** Reads a model file; absent where there is no file system. */
  load?(path: string): Model;
  open(original: Model, env: Env): World;
}

/** Nothing but what the standard library of every platform has. */
export const inMemory: Platform = {
  open: (original, env) => ({ context: new MemoryContext(original, env), close: async () => {} }),
};

let platform = inMemory;

export function currentPlatform(): Platform {
  return platform;
}

/** Sets what functions are run in where `env` names no runtime: the entry point of Node does. */
export function usePlatform(own: Platform): void {
  platform = own;
}
