/** @file onnxruntime-node: ONNX Runtime's native build, in Node. */
import { type NativeGuard, type OrtBackend, ortRuntime } from "./ort-session.ts";
import type { Runtime } from "./runtime.ts";

const backend: OrtBackend = {
  name: "ort-node",
  packageName: "onnxruntime-node",
  provider: "cpu",
  load: () => import("onnxruntime-node"),
};

/** onnxruntime-node on the calling thread. The package is loaded with the first model. */
export function ortNode(guard?: NativeGuard): Runtime {
  return ortRuntime(backend, guard);
}
