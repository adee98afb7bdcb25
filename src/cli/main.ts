#!/usr/bin/env node
/** @file The command line: reads the arguments, runs one command, turns errors into one line and an exit code. */
import { version } from "../node/version.ts";
import { type ErrorCode, messageOf, TersorError } from "../util/errors.ts";
import { type Io, type Options, parseArgs } from "./args.ts";
import { commands } from "./commands.ts";
import { commandHelp, mainHelp } from "./help.ts";
import { endInterrupted, interrupted, listenForSignals, watchSignals } from "./interruption.ts";

const exitCodes: Readonly<Record<ErrorCode, number>> = {
  "bad-recipe": 2,
  "bad-model": 3,
  "bad-data": 3,
  "unsupported-op": 3,
  "shape-mismatch": 3,
  "limit-exceeded": 3,
  "runtime-failed": 3,
  internal: 3,
  aborted: 130,
};

listenForSignals();
// A limit on the size of files is an error of the write, and not the end of the process.
if (process.platform !== "win32") process.on("SIGXFSZ" as NodeJS.Signals, () => {});
// What nobody awaited ends as any other error does: never with a stack, nor with the code of a missed bound.
for (const event of ["uncaughtException", "unhandledRejection"] as const)
  process.on(event, (error: unknown) => process.exit(fail(error)));
// `tersor inspect model.onnx | head`: whoever read has gone.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 3));

const argv = process.argv.slice(2);
// Known even when the arguments are wrong: errors are JSON then too.
const isJson = argv.includes("--json");

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = fail(error);
}
if (interrupted.aborted) await endInterrupted();

async function main(): Promise<number> {
  const { command, args, options } = await parseArgs(argv, commands);
  const io = terminal(options);
  if (options.version) return show(io, { version: version() }, version());
  if (options.help || !command) {
    const text = command ? commandHelp(command) : mainHelp(commands);
    const code = options.help ? 0 : 2;
    if (code === 0) return show(io, { help: text }, text);
    throw new TersorError(
      "bad-recipe",
      `expected a command: ${commands.map(({ name }) => name).join(", ")}. \`tersor --help\` says more.`,
    );
  }
  watchSignals();
  const { run } = await command.load();
  return run({ command, args, options, io });
}

function show(io: Io, value: unknown, text: string): number {
  io.json(value);
  io.print(text);
  return 0;
}

function terminal(options: Options): Io {
  const isQuiet = options.quiet === true;
  const write = (text: string) => process.stdout.write(`${text}\n`);
  const isTty = process.stdout.isTTY === true;
  return {
    isJson,
    isQuiet,
    isTty,
    print: (text) => void (isJson || isQuiet || write(text)),
    json: (value) => void (isJson && write(JSON.stringify(value, null, 2))),
    width: isTty ? process.stdout.columns || 80 : Number.POSITIVE_INFINITY,
    signal: interrupted,
  };
}

/** Prints an error: one line, or all of it when asked for. */
function fail(error: unknown): number {
  const code = interrupted.aborted ? "aborted" : error instanceof TersorError ? error.code : "internal";
  const message = code === "aborted" ? "interrupted: nothing was written." : oneLine(messageOf(error));
  const bug =
    code === "internal" && !(error instanceof TersorError) ? " This is a bug in Tersor: please report it." : "";
  if (isJson) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  process.stderr.write(`tersor: ${message}${bug}\n`);
  const isVerbose = argv.includes("--verbose") || (process.env.TERSOR_DEBUG ?? "0") !== "0";
  if (isVerbose)
    for (let cause = error; cause instanceof Error; cause = cause.cause) process.stderr.write(`${cause.stack}\n`);
  return exitCodes[code];
}

/** Names from a model may hold anything: nothing of it reaches the terminal but as text. */
function oneLine(text: string): string {
  return text
    .trim()
    .replace(/\s*\n\s*/g, " ")
    .replace(/\p{Cc}/gu, "?");
}
