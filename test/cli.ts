/** @file Runs the built command line as a process of its own, for tests of the run tier. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

export const cliFile = fileURLToPath(new URL("../dist/bin/tersor.js", import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called when the process has begun; may send it signals. */
  readonly onStart?: (kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs `tersor` with these arguments to its end. */
export function runCli(args: readonly string[], { cwd, env, onStart }: CliOptions = {}): Promise<CliResult> {
  const child = spawn(process.execPath, [cliFile, ...args], {
    ...(cwd !== undefined && { cwd }),
    // As in CI: what takes longer than ten seconds prints no progress into the pipe that tests read.
    env: { ...process.env, CI: "true", NO_COLOR: "", FORCE_COLOR: "0", TERSOR_DEBUG: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
    });
  onStart?.((signal) => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...texts }));
  });
}

/** A folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "tersor-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Names in a folder, hidden ones too, sorted. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder).sort();
}
