/** @file The worker thread of {@link workerRuntime}: serves one runtime on its parent's port. */
import { parentPort, workerData } from "node:worker_threads";
import { invariant } from "../util/errors.ts";
import { inProcessRuntime } from "./in-process.ts";
import type { RuntimeName } from "./names.ts";
import { gateGuard } from "./native-gate.ts";
import { serve } from "./worker-protocol.ts";

/** What the parent hands over. */
export interface NodeWorkerData {
  readonly name: RuntimeName;
  readonly gate: Int32Array;
}

// ONNX Runtime's JavaScript puts tensors into objects by their names in the model: "__proto__" is one like any other here.
Reflect.deleteProperty(Object.prototype, "__proto__");

const port = parentPort;
invariant(port, "node-worker runs only in a worker thread");
const { name, gate } = workerData as NodeWorkerData;
serve(
  {
    send: (message, transfer) => port.postMessage(message, transfer),
    onMessage: (handler) => port.on("message", handler),
  },
  inProcessRuntime(
    name,
    gateGuard(gate, () => process.exit(0)),
  ),
);
