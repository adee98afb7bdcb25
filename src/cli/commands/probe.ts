/** @file `tersor probe`. */
import { availableParallelism, cpus } from "node:os";
import { basename } from "node:path";
import * as z from "zod";
import { probe } from "../../evaluate/probe/probe.ts";
import { packageVersion } from "../../node/version.ts";
import { writeText } from "../../node/write-text.ts";
import { FileGuard } from "../../recipe/node/file-guard.ts";
import { checkOutput } from "../../recipe/node/files.ts";
import { runtimeOptions } from "../../recipe/run-options.ts";
import type { Progress } from "../../recipe/step.ts";
import { workerRuntime } from "../../runtime/worker-runtime.ts";
import { targetNamed } from "../../targets/targets.ts";
import { parseOptions } from "../../util/options.ts";
import { type CommandInput, flagNaming } from "../args.ts";
import { withProgress } from "../progress.ts";
import { probeText } from "../text/probe-text.ts";
import { palette } from "../text/render.ts";

const { runtime, threads } = runtimeOptions;
const probeOptions = z.object({ runtime, threads, output: z.string().min(1).optional() });

/** Where the facts come from that are not measured, and what the runtime's package is called. */
const runtimes = {
  "ort-node": { base: process.arch === "arm64" ? "node-arm64" : "node-x64", packageName: "onnxruntime-node" },
  "ort-web": { base: "web-wasm", packageName: "onnxruntime-web" },
} as const;

export async function run({ command, options, io }: CommandInput): Promise<number> {
  const {
    runtime: name,
    threads = 1,
    output,
  } = parseOptions(probeOptions, options, "probe", { naming: flagNaming(command) });
  if (output !== undefined) checkOutput({ model: output, data: output, manifest: output }, new FileGuard());
  const { base, packageName } = runtimes[name];
  const machine = `${cpus()[0]?.model.trim() || "unknown processor"}, ${process.arch}, ${availableParallelism()} threads of hardware`;
  const worker = workerRuntime(name);
  try {
    const report = await withProgress(io, (progress) => {
      let stage: { readonly name: string; readonly bar: Progress } | undefined;
      return probe(worker, {
        base: targetNamed(base),
        name: output === undefined ? `${name}-${process.arch}` : basename(output, ".json"),
        machine,
        measuredWith: `${packageName} ${packageVersion(packageName) ?? "(not installed)"}`,
        threads,
        signal: io.signal,
        onStep: (label, done, total) => {
          if (stage?.name !== label) stage = { name: label, bar: progress(label, total, "rounds") };
          stage.bar.update(done);
        },
      });
    });
    if (output !== undefined) writeText(output, `${JSON.stringify(report.target, null, 2)}\n`);
    io.json({ machine, ...report, files: output === undefined ? [] : [output] });
    io.print(
      probeText(report, {
        machine,
        hasPairs: name === "ort-node" && process.arch === "x64",
        output,
        width: io.width,
        colors: palette(io.isTty, process.env),
      }),
    );
    return 0;
  } finally {
    await worker.close();
  }
}
