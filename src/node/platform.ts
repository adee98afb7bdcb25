/** @file What the library is run in in Node: files, and ONNX Runtime in a worker. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { progressTo } from "../library/env.ts";
import { type Platform, usePlatform } from "../library/platform.ts";
import { NodeContext } from "../recipe/node/context.ts";
import { outputPaths } from "../recipe/node/files.ts";
import { Workspace } from "../recipe/node/workspace.ts";
import { loadModel } from "./load.ts";

const node: Platform = {
  load: loadModel,
  open(original, env) {
    const signal = env.signal ?? new AbortController().signal;
    // Models that are run are written where nothing of the user's lies.
    const workspace = new Workspace(outputPaths(join(tmpdir(), "model.onnx")), { signal });
    const context = new NodeContext({
      original,
      paths: new Map(),
      workspace,
      seed: env.seed ?? 0,
      dryRun: false,
      signal,
      progress: progressTo(env),
      data: env.data,
      workers: "auto",
      folder: ".",
    });
    return {
      context,
      async close() {
        await context.close();
        workspace.remove();
      },
    };
  },
};

usePlatform(node);
