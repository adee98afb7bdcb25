/** @file onnxruntime-web: ONNX Runtime's wasm build, in browsers and in Node. */
import { TersorError } from "../util/errors.ts";
import { type NativeGuard, type OrtBackend, ortRuntime } from "./ort-session.ts";
import type { Runtime, SessionOptions } from "./runtime.ts";

// In Node the package's main entry finds its .wasm file by itself and has threads; the "wasm" entry does not. Browsers
// get the "wasm" entry: half the download. The name in a variable keeps bundlers from following it.
const nodeEntry = "onnxruntime-web";
const inNode = typeof process !== "undefined" && process.versions?.node !== undefined;

/** Threads of the wasm module, which starts once: set by the first session. */
let fixed: { readonly threads: number | undefined } | undefined;

const backend: OrtBackend = {
  name: "ort-web",
  packageName: "onnxruntime-web",
  provider: "wasm",
  load: () => (inNode ? import(/* @vite-ignore */ nodeEntry) : import("onnxruntime-web/wasm")),
  configure: (ort, options) => {
    refuseOptimizedModel(options);
    if (!fixed) {
      fixed = { threads: options.threads };
      if (options.threads !== undefined) ort.env.wasm.numThreads = options.threads;
    } else if (options.threads !== undefined && options.threads !== fixed.threads)
      throw new TersorError(
        "runtime-failed",
        `ort-web: threads are fixed by the first session: expected ${fixed.threads ?? "the default"}, got ${options.threads}. Use another worker.`,
      );
  },
};

/** onnxruntime-web (wasm) on the calling thread. The package is loaded with the first model. */
export function ortWeb(guard?: NativeGuard): Runtime {
  return ortRuntime(backend, guard);
}

/** The wasm build has no file system: it crashes the process instead of writing. */
function refuseOptimizedModel({ optimizedModelPath }: SessionOptions): void {
  if (optimizedModelPath !== undefined)
    throw new TersorError(
      "runtime-failed",
      `ort-web: cannot write the optimized model "${optimizedModelPath}": the wasm build has no file system. Use ort-node.`,
    );
}
