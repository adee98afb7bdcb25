/**
 * @file Runs commands as whole processes, in turn (A B A B …), and reports medians of CPU seconds, wall seconds and peak memory.
 *
 * The numbers are the kernel's own (wait4): user + system time and largest resident set of the process and the children it
 * waited for. The floor of the peak is about 10 MiB, the size of the small Python process that starts the command.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

const starter = `
import json, os, sys, time
start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
json.dump({"code": os.waitstatus_to_exitcode(status), "wall": time.perf_counter() - start, "user": used.ru_utime,
  "sys": used.ru_stime, "peakMiB": used.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)}, os.fdopen(3, "w"))
`;

/**
 * Runs one command to its end. A command that exits with anything but 0 is not an exception here: peers may fail, and that
 * is a finding.
 *
 * @param {readonly string[]} command program and arguments
 * @returns {Promise<{code: number, wall: number, user: number, sys: number, cpu: number, peakMiB: number, stderr: string}>}
 */
export function runOnce(command) {
  return new Promise((resolve, reject) => {
    const child = spawn("python3", ["-c", starter, ...command], { stdio: ["ignore", "ignore", "pipe", "pipe"] });
    const [stderr, report] = [child.stdio[2], child.stdio[3]].map((stream) => {
      const text = { value: "" };
      stream.setEncoding("utf8").on("data", (chunk) => {
        text.value = (text.value + chunk).slice(-20_000);
      });
      return text;
    });
    child.on("error", reject);
    child.on("close", () => {
      if (!report.value) return reject(new Error(`${command[0]}: could not be started.\n${stderr.value}`));
      const numbers = JSON.parse(report.value);
      resolve({ ...numbers, cpu: numbers.user + numbers.sys, stderr: stderr.value });
    });
  });
}

/**
 * Runs every job once a round, for `rounds` rounds; the first round of all is a warm-up if `warmup` is set.
 *
 * @param {readonly {name: string, command: (out: string) => readonly string[]}[]} jobs `out` is an empty folder for what the command writes
 * @param {{rounds: number, warmup?: boolean, outFolder: string, keep?: boolean, log?: (text: string) => void}} options
 *   with `keep`, the outputs of the last round stay in `outFolder`/<job name>
 * @returns {Promise<Map<string, {name: string, runs: object[], outBytes: number, error?: string}>>} a job that fails is not run again
 */
export async function measure(jobs, { rounds, warmup = false, outFolder, keep = false, log = () => {} }) {
  const results = new Map(jobs.map(({ name }) => [name, { name, runs: [], outBytes: 0 }]));
  for (let round = warmup ? -1 : 0; round < rounds; round++) {
    for (const { name, command } of jobs) {
      const result = results.get(name);
      if (result.error) continue;
      const out = join(outFolder, name.replaceAll(/\W+/g, "-"));
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out, { recursive: true });
      spawnSync("sync");
      const run = await runOnce(command(out));
      log(`${name}: cpu ${run.cpu.toFixed(2)} s, wall ${run.wall.toFixed(2)} s, peak ${run.peakMiB.toFixed(0)} MiB`);
      if (run.code !== 0) result.error = lastLine(run.stderr) || `exit code ${run.code}`;
      else if (round >= 0) result.runs.push(run);
      result.outBytes = folderBytes(out);
      if (!keep || round < rounds - 1 || result.error) rmSync(out, { recursive: true, force: true });
    }
  }
  return results;
}

/** Median of numbers; NaN of none. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median over the rounds of a's quantity divided by b's of the same round: what both share of a busy machine cancels out. */
export function ratio(a, b, quantity) {
  const rounds = Math.min(a?.runs.length ?? 0, b?.runs.length ?? 0);
  return median(Array.from({ length: rounds }, (_, i) => a.runs[i][quantity] / b.runs[i][quantity]));
}

/** A Markdown table: header texts, then rows of cells; numbers stand right. */
export function markdown(header, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

/** One row a job: CPU, wall (with the range of the runs), peak memory, output size. */
export function resourceTable(results) {
  const rows = [...results].map(({ name, runs, outBytes, error }) => {
    if (error && runs.length === 0) return [name, `fails: ${error.slice(0, 80)}`, "", "", ""];
    const walls = runs.map((run) => run.wall);
    return [
      name,
      median(runs.map((run) => run.cpu)).toFixed(2),
      `${median(walls).toFixed(2)} (${Math.min(...walls).toFixed(2)}–${Math.max(...walls).toFixed(2)})`,
      median(runs.map((run) => run.peakMiB)).toFixed(0),
      (outBytes / 1e6).toFixed(1),
    ];
  });
  return markdown(["process", "CPU s", "wall s (range)", "peak MiB", "output MB"], rows);
}

function folderBytes(folder) {
  if (!existsSync(folder)) return 0;
  return readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
}

function lastLine(text) {
  return text.trim().split("\n").at(-1)?.replaceAll("|", "\\|") ?? "";
}
