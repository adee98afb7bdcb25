/** @file What is read back is whole or refused: checkpoints, caches, archives. A log that can't be written is one clear error. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { decodeNpz, encodeNpz } from "../../src/data/npy.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { decodeCheckpoint, encodeCheckpoint } from "../../src/train/checkpoint.ts";
import { TeacherAnswers } from "../../src/train/teacher-answers.ts";
import { TersorError } from "../../src/util/errors.ts";
import { Rng } from "../../src/util/rng.ts";
import { folderWith, isClear, model, tersor } from "./attack.ts";

const rng = new Rng(5, "damage");
const tensor = (...dims: number[]) =>
  hostTensor(
    "float32",
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );

const whole = {
  step: 7,
  state: { w: tensor(3, 4), "w.m": tensor(3, 4) },
  best: { epoch: 1, value: Number.POSITIVE_INFINITY, weights: { w: tensor(3, 4) } },
  history: [{ epoch: 1, steps: 6, loss: 0.5, rate: 0.001, validation: Number.POSITIVE_INFINITY }],
  losses: [0.4],
  before: 0.7,
};
const answers = () => {
  const all = new TeacherAnswers("teacher", ["y"]);
  for (let i = 0; i < 4; i++) all.add(`${i}`, { y: hostTensor("float32", [1, 2], [i, -i]) });
  return all;
};
const answersIn = (bytes: Uint8Array) => {
  const all = new TeacherAnswers("teacher", ["y"]);
  all.load(bytes, "cache");
  return ["0", "1", "2", "3"].map((key) => all.get(key));
};

/** Every reader of something that Tersor wrote itself, with what it should read. */
const readers = {
  checkpoint: [encodeCheckpoint(whole, "id"), (bytes: Uint8Array) => decodeCheckpoint(bytes, "c", "id")],
  cache: [answers().encode(), answersIn],
  npz: [encodeNpz({ x: tensor(4, 4), y: tensor(4) }), (bytes: Uint8Array) => decodeNpz(bytes, "d.npz")],
  "compressed npz": [
    encodeNpz({ x: tensor(4, 4) }, { compress: true }),
    (bytes: Uint8Array) => decodeNpz(bytes, "d.npz"),
  ],
} as const;

describe("a flipped bit", () => {
  for (const [what, [bytes, read]] of Object.entries(readers))
    it(`anywhere in a ${what} is refused, or changes nothing that is read`, () => {
      const right = read(bytes.slice());
      expect(right).toEqual(read(bytes.slice()));
      let refused = 0;
      for (let at = 0; at < bytes.length; at++)
        for (const bit of [0, 3, 7]) {
          const damaged = bytes.slice();
          damaged[at] = (damaged[at] as number) ^ (1 << bit);
          let got: unknown;
          try {
            got = read(damaged);
          } catch (error) {
            expect(error).toBeInstanceOf(TersorError);
            expect((error as TersorError).code).toBe("bad-data");
            refused++;
            continue;
          }
          expect(got, `byte ${at}, bit ${bit}`).toEqual(right);
        }
      expect(refused).toBeGreaterThan(bytes.length);
    });

  for (const [what, [bytes, read]] of Object.entries(readers))
    it(`a ${what} that is cut at any byte is refused`, () => {
      for (let length = 0; length < bytes.length; length++)
        expect(() => read(bytes.slice(0, length)), `${length}`).toThrow(TersorError);
    });
});

describe("an archive that someone made anew", () => {
  const entries = (bytes: Uint8Array) => decodeNpz(bytes, "x");
  const [checkpoint] = readers.checkpoint;
  const reading = (arrays: Record<string, ReturnType<typeof tensor>>) => () =>
    decodeCheckpoint(encodeNpz(arrays), "c", "id");
  const changed = (change: (about: Record<string, unknown>) => void) => {
    const all = entries(checkpoint);
    const about = JSON.parse(new TextDecoder().decode(all.about?.data as Uint8Array));
    change(about);
    const bytes = new TextEncoder().encode(JSON.stringify(about));
    return { ...all, about: hostTensor("uint8", [bytes.length], bytes) };
  };

  it("is read where nothing was changed", () => {
    expect(reading(entries(checkpoint))()).toEqual(whole);
  });

  it("is refused without a state, with another one, and without a checksum", () => {
    for (const name of ["state/w", "state/w.m", "best/w", "about", "seal"]) {
      const { [name]: _, ...rest } = entries(checkpoint);
      expect(reading(rest), name).toThrow('checkpoint "c": expected one that tersor wrote (format 2), whole: ');
    }
    expect(reading({ ...entries(checkpoint), "state/w": tensor(3, 4) })).toThrow("its checksum does not fit");
  });

  it("is refused with another step, and without a history", () => {
    expect(reading(changed((about) => Object.assign(about, { step: 1000 })))).toThrow("its checksum does not fit");
    expect(reading(changed((about) => delete about.history))).toThrow("its checksum does not fit");
  });

  it("NumPy's CRC is checked, and a name that stands twice refused", () => {
    const bytes = encodeNpz({ x: tensor(8) });
    const at = bytes.length - 22 - 46 - "x.npy".length - 4;
    bytes[at] = (bytes[at] as number) ^ 1;
    expect(() => decodeNpz(bytes, "d.npz")).toThrow('"x.npy" is damaged: its checksum does not fit');
    const zip = Buffer.from(zipSync({ "a.npy": new Uint8Array(1), "b.npy": new Uint8Array(1) }, { level: 0 }));
    const twice = Buffer.from(zip.toString("latin1").replaceAll("b.npy", "a.npy"), "latin1");
    expect(() => decodeNpz(twice, "d.npz")).toThrow('"a.npy" stands in it twice');
  });
});

describe("resuming", () => {
  const finetune = (epochs: number, ...more: string[]) => [
    ...["finetune", "m.onnx", "--data", "d.jsonl", "-o", "o.onnx", "--batch-size", "8", "--epochs", `${epochs}`],
    ...["--checkpoint", "c.npz", ...more],
  ];
  const distill = [
    "distill",
    "m.onnx",
    "--teacher",
    "t.onnx",
    "--data",
    "d.npy",
    "-o",
    "o.onnx",
    "--epochs",
    "1",
    "--cache",
    "a.npz",
  ];
  let made: { readonly checkpoint: Buffer; readonly cache: Buffer } | undefined;
  /** What a training leaves behind. */
  const trained = async () => {
    if (made) return made;
    const folder = folderWith({ "t.onnx": model });
    expect((await tersor(folder, finetune(2))).code).toBe(0);
    const checkpoint = readFileSync(join(folder, "c.npz"));
    expect((await tersor(folder, distill)).code).toBe(0);
    made = { checkpoint, cache: readFileSync(join(folder, "a.npz")) };
    return made;
  };

  it("from a damaged checkpoint, or on a damaged cache, ends with one clear error", async () => {
    const { checkpoint, cache } = await trained();
    for (const [name, bytes, args] of [
      ["c.npz", checkpoint, finetune(2, "--resume")],
      ["a.npz", cache, distill],
    ] as const) {
      const damaged = Buffer.from(bytes);
      const at = Math.floor(bytes.length / 2);
      damaged[at] = (damaged[at] as number) ^ 16;
      const folder = folderWith({ "t.onnx": model, [name]: damaged });
      const result = await tersor(folder, args);
      expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 3, clear: true });
      expect(result.stderr).toContain(name);
      expect(readFileSync(join(folder, name))).toEqual(damaged);
    }
  });

  it("from a checkpoint whose steps do not fit is refused, though its checksum does", async () => {
    const { checkpoint } = await trained();
    const folder = folderWith({ "c.npz": checkpoint });
    const about = JSON.parse(new TextDecoder().decode(decodeNpz(checkpoint, "c").about?.data as Uint8Array));
    const right = decodeCheckpoint(checkpoint, "c", about.identity);
    const { w1: _, ...state } = right.state;
    for (const wrong of [
      { ...right, step: 100_000 },
      { ...right, history: [] },
      { ...right, state },
      { ...right, state: { ...right.state, strange: tensor(2) } },
    ]) {
      writeFileSync(join(folder, "c.npz"), encodeCheckpoint(wrong, about.identity));
      const result = await tersor(folder, finetune(2, "--resume"));
      expect(result.stderr).toContain("checkpoint: ");
      expect({ code: result.code, clear: isClear(result) }).toEqual({ code: 3, clear: true });
    }
  });
});

describe("a log that can't be written", () => {
  const finetune = ["finetune", "m.onnx", "--data", "d.jsonl", "-o", "o.onnx", "--epochs", "1", "--log"];
  const places: Readonly<Record<string, (folder: string) => string>> = {
    "in a folder that is not there": () => "nowhere/log",
    "in a file": () => "d.npy/log",
    "that is a folder": (folder) => {
      mkdirSync(join(folder, "log"));
      return "log";
    },
    "that is a full device": (folder) => {
      symlinkSync("/dev/full", join(folder, "log"));
      return "log";
    },
  };
  for (const [what, place] of Object.entries(places))
    it(what, async () => {
      const folder = folderWith();
      const result = await tersor(folder, [...finetune, place(folder)]);
      expect([2, 3]).toContain(result.code);
      expect(isClear(result)).toBe(true);
    });

  it("on a disk that fills up during the training", async () => {
    const folder = folderWith();
    writeFileSync(join(folder, "log"), "");
    chmodSync(join(folder, "log"), 0o644);
    // A limit on the size of files is a full disk for the log alone: the rest is smaller.
    const script = `ulimit -f 2; trap '' XFSZ; exec "$0" "$@"`;
    const cli = new URL("../../dist/bin/tersor.js", import.meta.url).pathname;
    let text = "";
    let code = 0;
    try {
      execFileSync(
        "bash",
        ["-c", script, process.execPath, cli, ...finetune, "log", "--batch-size", "1", "--epochs", "2"],
        {
          cwd: folder,
          stdio: ["ignore", "pipe", "pipe"],
          encoding: "utf8",
        },
      );
    } catch (error) {
      ({ status: code, stderr: text } = error as { status: number; stderr: string });
    }
    expect({ code, clear: isClear({ code, stdout: "", stderr: text }) }).toEqual({ code: 3, clear: true });
    expect(text).toContain('file "log": can\'t be written');
  });
});
