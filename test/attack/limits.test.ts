/** @file Small files that ask for much: sizes, memory, time and depth have limits, and the messages say what to do. */
import { join } from "node:path";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { batches } from "../../src/data/batch.ts";
import { datasetOf } from "../../src/data/dataset.ts";
import { openData } from "../../src/data/node/open-data.ts";
import { decodeNpz } from "../../src/data/npy.ts";
import { seededDataset } from "../../src/data/seeded.ts";
import { decodeWave, encodeWave, resample } from "../../src/data/wave.ts";
import { parse } from "../../src/ir/text/index.ts";
import { checkMemory } from "../../src/ops/memory.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { int64 } from "../../src/tensor/tensor.ts";
import { TersorError } from "../../src/util/errors.ts";
import { parseJson } from "../../src/util/json.ts";
import { encode } from "../wire.ts";
import { folderWith, isClear, tersor } from "./attack.ts";

const head = `<ir_version: 10, opset_import: ["": 21]>`;
const relu = (dims: string) => encode(parse(`${head} g (float[${dims}] x) => (float[${dims}] y) { y = Relu(x) }`));

describe("huge inputs", () => {
  it("are not made up, and the message names --shapes", () => {
    for (const dims of [
      [2 ** 31, 4],
      [2 ** 40, 4],
      [2 ** 33, 2 ** 33, 4],
      Array<string>(40).fill("N"),
      Array.from({ length: 40 }, (_, i) => `N${i}`),
    ]) {
      const inputs = [{ name: "x", dtype: "float32", dims }] as const;
      expect(() => seededDataset(inputs)).toThrow(/^input "x": .* --shapes/);
    }
    const several = Array.from({ length: 9 }, (_, i) => ({ name: `x${i}`, dtype: "uint8", dims: [2 ** 24] }) as const);
    expect(() => seededDataset(several)).toThrow("too much to make up");
    expect(() => seededDataset([{ name: "x", dtype: "float32", dims: ["N", 4] }], { dims: { N: 2 ** 40 } })).toThrow(
      "--shapes",
    );
  });

  it("nor joined to batches", async () => {
    const one = datasetOf("d", [{ id: "a", inputs: { x: hostTensor("float32", [1, 4], [1, 2, 3, 4]) } }]);
    for (const size of [2 ** 31, 2 ** 32 + 1]) {
      const all = batches(one, { size, last: "fill" });
      await expect(all[Symbol.asyncIterator]().next()).rejects.toThrow("samples at once are too many");
    }
  });

  for (const dims of ["2147483648,4", "1099511627776,4", "8589934592,8589934592,4", "N,2147483648", "2147483648,1"])
    it(`end every command in one clear line: [${dims}]`, async () => {
      const folder = folderWith({ "m.onnx": relu(dims) });
      for (const args of [
        ["compare", "m.onnx", "m.onnx"],
        ["quantize", "m.onnx", "-o", "q.onnx", "--check"],
      ]) {
        const result = await tersor(folder, args, { deadline: 20_000 });
        expect({ args, code: result.code, clear: isClear(result) }).toEqual({ args, code: 3, clear: true });
        expect(result.stderr).toContain("--shapes");
      }
    });
});

describe("memory of the runtime", () => {
  const doubling = (count: number) => {
    const nodes = Array.from({ length: count }, (_, i) => `a${i + 1} = Concat<axis: int = 0>(a${i}, a${i})`).join("  ");
    return parse(
      `${head} g (float[1] x) => (float[] y) <float[4] a0 = {1, 2, 3, 4}> { ${nodes}  s = ReduceSum<keepdims: int = 0>(a${count})  y = Add(x, s) }`,
    );
  };
  const dims = int64([2], [2 ** 20, 2 ** 14]);

  it("what it computes from constants has a limit", () => {
    expect(() => checkMemory(doubling(40))).toThrow(/value "a\d+", with what is computed from constants.*--shapes/);
    expect(() => checkMemory(doubling(10))).not.toThrow();
    const filled = parse`<ir_version: 10, opset_import: ["": 21]> g (float[1] x) => (float[1] y) <int64[2] n = ${dims}> {
      f = ConstantOfShape(n)  s = ReduceSum<keepdims: int = 0>(f)  y = Add(x, s) }`;
    expect(() => checkMemory(filled)).toThrow('value "f"');
  });

  it("so has a single value", () => {
    const wide = parse`<ir_version: 10, opset_import: ["": 21]> g (float[1,1] x) => (float[] y) <int64[2] n = ${dims}> {
      e = Expand(x, n)  y = ReduceSum<keepdims: int = 0>(e) }`;
    expect(() => checkMemory(wide)).toThrow('value "e": too large to run');
  });

  it("a model of a kilobyte takes no gigabytes on the command line", async () => {
    const folder = folderWith({ "m.onnx": encode(doubling(31)) });
    for (const args of [
      ["compare", "m.onnx", "m.onnx"],
      ["quantize", "m.onnx", "-o", "q.onnx", "--check"],
      ["inspect", "m.onnx"],
    ]) {
      const result = await tersor(folder, args, { deadline: 30_000 });
      expect({ args, good: result.code === 0 || (result.code === 3 && isClear(result)) }).toEqual({ args, good: true });
    }
  });
});

describe("sound", () => {
  const sound = (sampleRate: number, count = 100) =>
    encodeWave({ sampleRate, samples: Float32Array.from({ length: count }, (_, i) => Math.sin(i / 5)) });

  it("of a rate that no device has is refused", () => {
    for (const rate of [0, 1, 7, 999, 768_001, 4_294_967_291])
      expect(() => decodeWave(sound(rate), "a.wav")).toThrow("expected a sample rate from 1000 to 768000 Hz");
    for (const rate of [1000, 44_100, 768_000]) expect(decodeWave(sound(rate), "a.wav").sampleRate).toBe(rate);
  });

  it("of any rate is brought to another soon, and not to more than memory holds", () => {
    const start = performance.now();
    for (const rate of [1009, 767_957, 44_101, 11_025]) {
      const wave = decodeWave(sound(rate, 4000), "a.wav");
      expect(resample(wave, 16_000).every(Number.isFinite)).toBe(true);
    }
    expect(performance.now() - start).toBeLessThan(10_000);
    const long = { sampleRate: 1000, samples: new Float32Array(2 ** 24) };
    expect(() => resample(long, 768_000)).toThrow("too long at 768000 Hz");
  });

  it("in a folder ends in one clear line", async () => {
    const folder = folderWith({ "s/a.wav": sound(4_294_967_291) });
    const result = await tersor(folder, ["compare", "m.onnx", "m.onnx", "--data", "s"], { deadline: 15_000 });
    expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 3, clear: true });
  });
});

describe("data files", () => {
  it("archives that unpack to far more than they are", () => {
    // Zeros, 270 MB in less than 1 % of it, honestly said.
    const zeros = new Uint8Array(30 << 20);
    const files = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`x${i}.npy`, zeros]));
    const bomb = zipSync(files, { level: 1 });
    expect(bomb.length).toBeLessThan(3 << 20);
    expect(() => decodeNpz(bomb, "b.npz")).toThrow(/b\.npz: .*unpacks to more than \d+ bytes.*uncompressed/);
  });

  it("JSON that is nested deeply, or has numbers beyond all bounds", () => {
    for (const text of ["[".repeat(200_000) + "]".repeat(200_000), `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`])
      expect(() => parseJson(text)).toThrow("nested more than 512 deep");
    for (const text of ["1e999", '{"a":[1,-1e400]}', `[${"9".repeat(400)}]`])
      expect(() => parseJson(text)).toThrow("larger than a double can hold");
    expect(parseJson('{"a":"1e999 [[[","b":[1e300,"\\""],"c":1e-999}')).toEqual({
      a: "1e999 [[[",
      b: [1e300, '"'],
      c: 0,
    });
  });

  const inputs = [{ name: "x", dtype: "float32", dims: ["N", 4] }] as const;
  const first = async (folder: string, spec: string | Record<string, unknown>) => {
    const data = await openData(spec, { inputs, folder });
    for await (const sample of data) return sample;
    return undefined;
  };

  it("samples in JSON lines: deep, overflowing, and too large for the model's type", async () => {
    const deep = "[".repeat(200_000) + "]".repeat(200_000);
    const rows: Readonly<Record<string, string>> = {
      [`{"inputs":{"x":${deep}}}`]: "nested more than 512 deep",
      [`{"inputs":{"x":${"[".repeat(100)}1${"]".repeat(100)}}}`]: "at most 64 dims",
      '{"inputs":{"x":[1,2,3,1e999]}}': "larger than a double can hold",
      '{"inputs":{"x":[1,2,3,4]},"label":1e999}': "larger than a double can hold",
      '{"inputs":{"x":[1,2,3,1e300]}}': "element 3 does not fit the model's type: expected float32, got 1e+300",
    };
    for (const [line, message] of Object.entries(rows)) {
      const error = await first(folderWith({ "e.jsonl": line }), "e.jsonl").catch((each: unknown) => each);
      expect(error).toBeInstanceOf(TersorError);
      expect((error as TersorError).code).toBe("bad-data");
      expect((error as TersorError).message).toContain(message);
    }
    expect(
      (await first(folderWith({ "e.jsonl": '{"inputs":{"x":[1,2,3,3.4e38]}}' }), "e.jsonl"))?.inputs.x?.data[3],
    ).toBeCloseTo(3.4e38, -33);
  });

  it("options, recipes, targets and labels that are nested deeply", async () => {
    const deep = `{"path":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
    const folder = folderWith({ "deep.json": deep });
    for (const args of [
      ["compare", "m.onnx", "m.onnx", "--data", "deep.json"],
      ["compare", "m.onnx", "m.onnx", "--data", "d.npy", "--data-options", "deep.json"],
      ["compare", "m.onnx", "m.onnx", "--data", '{"path":"d.jsonl","classes":"deep.json"}'],
      ["quantize", "m.onnx", "--calibrate", "d.npy", "--target", "deep.json"],
      ["run", "deep.json"],
    ]) {
      const result = await tersor(folder, args);
      expect({ args, clear: isClear(result), code: result.code === 2 || result.code === 3 }).toEqual({
        args,
        clear: true,
        code: true,
      });
      expect(result.stderr).toContain("nested more than 512 deep");
    }
  });

  it("modules that throw null, undefined or text", async () => {
    const modules: Readonly<Record<string, string>> = {
      "a.mjs": "throw null;",
      "b.mjs": "export default () => { throw null; };",
      "c.mjs": "export default async function* () { throw undefined; };",
      "d.mjs": 'export default { *[Symbol.iterator]() { yield { inputs: { x: [1, 2, 3, 4] } }; throw "text"; } };',
    };
    const folder = folderWith(modules);
    for (const name of Object.keys(modules)) {
      const result = await tersor(folder, ["compare", "m.onnx", "m.onnx", "--runs", "0", "--data", name]);
      expect({ name, code: result.code, clear: isClear(result) }).toEqual({ name, code: 3, clear: true });
      expect(result.stderr).toContain(name);
    }
    const data = await openData("d.mjs", { inputs, folder });
    const read = async () => {
      for await (const _ of data);
    };
    await expect(read()).rejects.toThrow(`${join(folder, "d.mjs")}: it threw: text.`);
  });
});
