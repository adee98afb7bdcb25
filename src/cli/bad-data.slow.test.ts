/** @file Bad calibration data on the command line: the whole message, the exit code, nothing written; --skip-bad; Ctrl-C. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { expect, it } from "vitest";
import { filesIn, runCli, temporaryFolder } from "../../test/cli.ts";
import { encode } from "../../test/wire.ts";
import { encodeNpy } from "../data/npy.ts";
import { parse } from "../ir/text/index.ts";
import { targetNamed } from "../targets/targets.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { float32 } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

const rng = new Rng(8, "bad data");
const normal = (...dims: number[]) =>
  float32(
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const image = encode(parse`<ir_version: 8, opset_import: ["": 17]>
  g (float[N,3,8,8] x) => (float[N,16,8,8] y) <float[16,3,3,3] w = ${normal(16, 3, 3, 3)}> {
    [root] r = Sqrt(x)
    [shift] s = Neg(r)
    [conv] y = Conv<pads = [1,1,1,1]>(s, w)
  }`);
interface Row {
  readonly what: string;
  /** Contents by name. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly options: readonly string[];
  readonly code?: number;
  /** Without `tersor: `; FOLDER stands for the temporary folder. */
  readonly says: string;
}

const pixels = encodeNpy(hostTensor("float32", [1, 3, 8, 8], Array<number>(192).fill(0.5)));

const rows: readonly Row[] = [
  {
    what: "an empty folder",
    files: {},
    options: ["--calibrate", "images"],
    says: "FOLDER/images: no images: expected files such as .jpg, .png or .webp in it or its sub-folders, got none.",
  },
  {
    what: "a wrong shape",
    files: { "d.npy": encodeNpy(hostTensor("float32", [1, 2, 8, 8], Array<number>(128).fill(0))) },
    options: ["--calibrate", "d.npy"],
    says: 'd.npy#0: input "x": wrong shape: expected float32 [N, 3, 8, 8], got float32 [2, 8, 8]. The first axis is the batch; a sample may leave it out.',
  },
  {
    what: "a target file with an unknown key",
    files: {
      "d.npy": pixels,
      "t.json": JSON.stringify({ ...targetNamed("web-wasm"), name: "phone", saturate: true }),
    },
    options: ["--calibrate", "d.npy", "--target", "t.json"],
    code: 2,
    says: 'target "t.json": unknown option "saturate" (did you mean saturates?).',
  },
  {
    what: "--skip-bad without data",
    files: {},
    options: ["--skip-bad"],
    code: 2,
    says: "--skip-bad: there is no data: expected --data or --calibrate with it.",
  },
];

function setUp(files: Row["files"] = {}): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "m.onnx"), image);
  mkdirSync(join(folder, "images"));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

const quantize = ["quantize", "m.onnx", "-o", "q.onnx"];

it.each(rows)("refuses $what", async ({ files, options, code = 3, says }) => {
  const folder = setUp(files);
  const result = await runCli([...quantize, ...options], { cwd: folder });
  const stderr = result.stderr.replaceAll(folder, "FOLDER");
  expect({ ...result, stderr }).toEqual({ code, stdout: "", stderr: `tersor: ${says}\n` });
  expect(filesIn(folder)).toEqual(["images", "m.onnx", ...Object.keys(files)].sort());
});

/** Five pictures, the fourth of which is none. */
async function pictures(folder: string): Promise<void> {
  const create = { width: 8, height: 8, channels: 3, background: "#468" } as const;
  const png = await sharp({ create }).png().toBuffer();
  for (const name of ["a", "b", "c", "d", "e"])
    writeFileSync(join(folder, "images", `${name}.png`), name === "d" ? "no picture" : png);
}

it("names one corrupt image among many", async () => {
  const folder = setUp();
  await pictures(folder);
  const { code, stderr } = await runCli([...quantize, "--calibrate", "images"], { cwd: folder });
  expect(code).toBe(3);
  expect(stderr).toBe(
    `tersor: ${folder}/images/d.png: not a readable image: Input file contains unsupported image format. Repair it, or leave it out: skipBad.\n`,
  );
  expect(filesIn(folder)).toEqual(["images", "m.onnx"]);
});

it("goes on without it where it is told to, and says so", async () => {
  const folder = setUp();
  await pictures(folder);
  const { code, stdout, stderr } = await runCli([...quantize, "--calibrate", "images", "--skip-bad"], { cwd: folder });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("Left out as unreadable\n  1 sample of images: d.png");
  const { skipped, steps } = JSON.parse(readFileSync(join(folder, "q.onnx.json"), "utf8"));
  expect(skipped).toEqual([{ data: "images", samples: [{ id: "d.png", reason: expect.stringContaining("d.png") }] }]);
  expect(steps[1].report.calibration).toEqual({ data: "images", samples: 4 });
});

it("leaves nothing behind when it is interrupted in the middle of the calibration", async () => {
  const samples = `export default function* () {
    for (let i = 0; i < 100; i++) {
      if (i === 3) process.kill(process.pid, "SIGINT");
      yield { inputs: { x: Array(192).fill(1) } };
    }
  }`;
  const folder = setUp({ "d.mjs": samples });
  const result = await runCli([...quantize, "--calibrate", "d.mjs"], { cwd: folder });
  expect(result).toEqual({ code: 130, stdout: "", stderr: "tersor: interrupted: nothing was written.\n" });
  expect(filesIn(folder)).toEqual(["d.mjs", "images", "m.onnx"]);
});
