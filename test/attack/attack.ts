/** @file What attacks have in common: a small model and its data in a folder, and the command line with a deadline. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { encodeNpy } from "../../src/data/npy.ts";
import { parse } from "../../src/ir/text/index.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { float32 } from "../../src/tensor/tensor.ts";
import { Rng } from "../../src/util/rng.ts";
import { type CliOptions, type CliResult, runCli, temporaryFolder } from "../cli.ts";
import { encode } from "../wire.ts";

const rng = new Rng(17, "attack");
const normals = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() / Math.sqrt(dims[0] ?? 1)),
  );

/** Two products, 4 → 96 → 2. */
export const model = encode(parse`<ir_version: 10, opset_import: ["": 21]> g (float[N,4] x) => (float[N,2] y)
  <float[4,96] w1 = ${normals(4, 96)}, float[96,2] w2 = ${normals(96, 2)}> { a = MatMul(x, w1)  h = Relu(a)  y = MatMul(h, w2) }`);

export const SAMPLES = 48;
const values = Float32Array.from({ length: SAMPLES * 4 }, () => rng.normal());
const classOf = (i: number) => Number((values[i * 4] as number) * (values[i * 4 + 1] as number) > 0);

export const npy = encodeNpy(hostTensor("float32", [SAMPLES, 4], values));
/** With classes. */
export const jsonl = Array.from({ length: SAMPLES }, (_, i) =>
  JSON.stringify({ inputs: { x: [...values.slice(i * 4, i * 4 + 4)] }, label: classOf(i) }),
).join("\n");

type Files = Readonly<Record<string, string | Uint8Array>>;

/** A folder with m.onnx, d.npy, d.jsonl and more. */
export function folderWith(files: Files = {}): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries({ "m.onnx": model, "d.npy": npy, "d.jsonl": jsonl, ...files })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

export interface AttackOptions extends CliOptions {
  /** Milliseconds after which the process is killed; its code is null then. */
  readonly deadline?: number;
}

/** Runs the command line in a folder; a process that does not end is killed and has no exit code. */
export function tersor(cwd: string, args: readonly string[], options: AttackOptions = {}): Promise<CliResult> {
  const { deadline = 60_000, onStart, ...rest } = options;
  let timer: NodeJS.Timeout | undefined;
  return runCli(args, {
    cwd,
    ...rest,
    onStart: (kill) => {
      timer = setTimeout(() => kill("SIGKILL"), deadline);
      onStart?.(kill);
    },
  }).finally(() => clearTimeout(timer));
}

/** The bytes of files of a folder, to see later that they are untouched. */
export function contents(folder: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name)).toString("base64")]));
}

/** One clear line, which is no bug of Tersor and no stack. */
export function isClear({ stderr }: CliResult): boolean {
  return /^tersor: [^\n]+\n$/.test(stderr) && !/bug in Tersor|\bat .*:\d+:\d+/.test(stderr);
}
