/** @file How long `tersor --help` takes beyond `node -e 0`, interleaved. Usage: node bench/startup.mjs [rounds]. Needs `npm run build`. */
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { measure, median, resourceTable } from "./measure.mjs";

const cli = join(dirname(dirname(fileURLToPath(import.meta.url))), "dist", "bin", "tersor.js");
const boundMs = 150;

const results = await measure(
  [
    { name: "node -e 0", command: () => [process.execPath, "-e", "0"] },
    { name: "tersor --help", command: () => [process.execPath, cli, "--help"] },
  ],
  { rounds: Number(process.argv[2] ?? 15), warmup: true, outFolder: join(tmpdir(), "tersor-startup") },
);
const [bare, ours] = ["node -e 0", "tersor --help"].map((name) => results.get(name));
const more = median(ours.runs.map((run, i) => (run.wall - bare.runs[i].wall) * 1000));
console.log(
  `${resourceTable(results.values())}\n\ntersor --help: ${more.toFixed(0)} ms more than node -e 0 (bound: ${boundMs} ms)`,
);
process.exitCode = more <= boundMs ? 0 : 1;
