/** @file `tersor quantize FOLDER --layout transformers.js`. */
import { type FolderFile, type FolderOptions, quantizeFolder } from "../../recipe/node/transformers-js.ts";
import { TersorError } from "../../util/errors.ts";
import { type CommandInput, flagNaming } from "../args.ts";
import { withProgress } from "../progress.ts";
import {
  type Column,
  formatBytes,
  formatChange,
  formatDb,
  type Palette,
  palette,
  printable,
  renderTable,
} from "../render.ts";

const LAYOUT = "transformers.js";
const own = new Set(["layout", "dtypes", "seed", "samples", "shapes", "runs", "threads"]);
const everywhere = new Set(["json", "quiet", "verbose"]);

/** Ends with 1 when a file that was made does not run. */
export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [folder = ""] = args;
  const naming = flagNaming(command);
  if (options.layout !== LAYOUT)
    throw new TersorError("bad-recipe", `--layout: expected ${LAYOUT}, got ${options.layout ?? "none"}.`);
  for (const name of Object.keys(options))
    if (!own.has(name) && !everywhere.has(name))
      throw new TersorError(
        "bad-recipe",
        `${naming([name])}: does not go with --layout ${LAYOUT}, where the dtypes decide. Leave it out.`,
      );
  for (const [name, least] of [
    ["samples", 1],
    ["runs", 0],
    ["threads", 1],
    ["seed", 0],
  ] as const) {
    const value = options[name];
    if (value !== undefined && !(Number.isInteger(value) && Number(value) >= least))
      throw new TersorError("bad-recipe", `${naming([name])}: expected a whole number from ${least} on, got ${value}.`);
  }
  const result = await withProgress(io, (progress) =>
    quantizeFolder(folder, { ...(options as FolderOptions), signal: io.signal, progress }),
  );
  io.json({ folder, ...result });
  const colors = palette(io.isTty, process.env);
  const sizes = new Map(result.sessions.map(({ session, bytes }) => [session, bytes]));
  const rows = [
    ...result.sessions.map(({ file, bytes }) => [printable(file), formatBytes(bytes), "", "", "", ""]),
    ...result.files.map((file) => rowOf(file, sizes.get(file.session) ?? 0, colors)),
  ];
  const columns: Column[] = [
    { title: "file", shrink: true },
    { title: "size", align: "right" },
    { title: "change", align: "right" },
    { title: "SQNR", align: "right" },
    { title: "latency", align: "right" },
    { title: "" },
  ];
  const snippet = JSON.stringify({ [`${LAYOUT}_config`]: result.suggestion }, null, 2);
  const parts = [
    renderTable(columns, rows, { width: io.width, colors }),
    "SQNR and latency against the original, on made-up inputs.",
    `For config.json, if these suit you (the smallest files with at least 20 dB):\n${snippet}`,
  ];
  io.print(parts.join("\n\n"));
  return result.files.some(({ status }) => status === "failed") ? 1 : 0;
}

function rowOf(file: FolderFile, before: number, colors: Palette): string[] {
  const { status, bytes = 0, sqnr, latency, reason = "" } = file;
  const name = printable(file.file);
  if (status === "skipped") return [name, "", "", "", "", colors.dim(`skipped: ${printable(reason)}`)];
  if (status === "failed") return [name, "", "", "", "", colors.red(`failed: ${printable(reason)}`)];
  const ratio = latency ? `×${latency.ratio.toFixed(2)}` : "";
  return [name, formatBytes(bytes), formatChange(before, bytes), formatDb(sqnr), ratio, ""];
}
