/**
 * @file A process that runs commands one after the other, as the command line would, and tells how each ended. It also loads models in
 * ONNX Runtime when asked to. What never returns, or takes the process down, the parent sees.
 */
import { parseArgs } from "../../../dist/cli/args.js";
import { commands } from "../../../dist/cli/commands.js";
import { TersorError } from "../../../dist/util/errors.js";

const signal = new AbortController().signal;

/** As main.ts does. */
async function run(argv) {
  const { command, args, options } = await parseArgs(argv, commands);
  let texts = "";
  const io = {
    ...{ isJson: argv.includes("--json"), isQuiet: false, isTty: false, width: Number.POSITIVE_INFINITY, signal },
    print: (text) => {
      texts += text;
    },
    json: (value) => {
      texts += JSON.stringify(value);
    },
  };
  const { run: runCommand } = await command.load();
  return { code: await runCommand({ command, args, options, io }), text: texts.slice(0, 2000) };
}

async function load(path) {
  const { InferenceSession } = await import("onnxruntime-node");
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 4 });
  await session.release();
  return { code: 0 };
}

const failureOf = (error) => ({
  name: error instanceof TersorError ? "TersorError" : (error?.name ?? typeof error),
  code: error?.code,
  message: String(error?.message ?? error),
  stack: String(error?.stack ?? "").slice(0, 1500),
});

// What nobody awaited is a fault too, of the command under way.
const stray = [];
for (const event of ["uncaughtException", "unhandledRejection"])
  process.on(event, (error) => stray.push(failureOf(error)));

process.on("message", async ({ folder, argv, path }) => {
  const start = performance.now();
  let outcome;
  try {
    if (folder) process.chdir(folder);
    outcome = await (argv ? run(argv) : load(path));
  } catch (error) {
    outcome = { error: failureOf(error) };
  }
  const { maxRSS } = process.resourceUsage();
  process.send({ ...outcome, stray: stray.splice(0), ms: performance.now() - start, kilobytes: maxRSS });
});
