/** @file What runs models, in Node. */
export * from "../../library/namespaces/runtime.ts";
export { methodPool, type NodeMethodPool } from "../../recipe/node/method-pool.ts";
export { inProcessRuntime } from "../../runtime/in-process.ts";
export { type RuntimeName, runtimeNames } from "../../runtime/names.ts";
export { ortNode } from "../../runtime/ort-node.ts";
export { type WorkerRuntime, workerRuntime } from "../../runtime/worker-runtime.ts";
