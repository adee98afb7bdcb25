/** @file The runtimes by name, on the calling thread. */
import type { RuntimeName } from "./names.ts";
import { ortNode } from "./ort-node.ts";
import type { NativeGuard } from "./ort-session.ts";
import { ortWeb } from "./ort-web.ts";
import type { Runtime } from "./runtime.ts";

const runtimes = { "ort-node": ortNode, "ort-web": ortWeb } satisfies Record<
  RuntimeName,
  (guard?: NativeGuard) => Runtime
>;

/** A runtime on the calling thread, which it blocks while a model loads or runs: for tests and for one's own workers. */
export function inProcessRuntime(name: RuntimeName, guard?: NativeGuard): Runtime {
  return runtimes[name](guard);
}
