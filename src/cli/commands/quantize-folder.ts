/** @file `tersor quantize FOLDER --layout transformers.js`. */
import { type FolderFile, quantizeFolder } from "../../recipe/node/transformers-js.ts";
import { folderOptions } from "../../recipe/transformers-js.ts";
import { TersorError } from "../../util/errors.ts";
import { parseOptions } from "../../util/options.ts";
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
} from "../text/render.ts";

const globals = new Set(["json", "quiet", "verbose"]);

/** Ends with 1 when a file that was made does not run. */
export async function run({ command, args, options, io }: CommandInput): Promise<number> {
  const [folder = ""] = args;
  const naming = flagNaming(command);
  const given = Object.fromEntries(Object.entries(options).filter(([name]) => !globals.has(name)));
  if (given.layout === undefined)
    throw new TersorError("bad-recipe", "--dtypes: goes with --layout transformers.js and a folder. Give both.");
  const misfit = Object.keys(given).find((name) => !(name in folderOptions.shape));
  if (misfit !== undefined)
    throw new TersorError(
      "bad-recipe",
      `${naming([misfit])}: does not go with --layout, where the dtypes decide. Leave it out.`,
    );
  parseOptions(folderOptions, given, "quantize", { naming });
  const result = await withProgress(io, (progress) => quantizeFolder(folder, given, { signal: io.signal, progress }));
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
  const snippet = JSON.stringify({ "transformers.js_config": result.suggestion }, null, 2);
  const parts = [
    renderTable(columns, rows, { width: io.width, colors }),
    "SQNR and latency against the original, on made-up inputs. Here float16 is computed in float32: overflow would not show.",
    `For config.json, if these suit you (the smallest files with at least 20 dB):\n${snippet}`,
  ];
  io.print(parts.join("\n\n"));
  return result.files.some(({ status }) => status === "failed") ? 1 : 0;
}

function rowOf(file: FolderFile, before: number, colors: Palette): string[] {
  const { status, bytes = 0, sqnr, latency, verdict, reason = "" } = file;
  const name = printable(file.file);
  if (status === "skipped") return [name, "", "", "", "", colors.dim(`skipped: ${printable(reason)}`)];
  if (status === "failed") return [name, "", "", "", "", colors.red(`failed: ${printable(reason)}`)];
  const ratio = latency ? `×${latency.ratio.toFixed(2)}` : "";
  return [
    name,
    formatBytes(bytes),
    formatChange(before, bytes),
    formatDb(sqnr),
    ratio,
    verdict === "low" ? colors.yellow("may be useless: below 20 dB") : "",
  ];
}
