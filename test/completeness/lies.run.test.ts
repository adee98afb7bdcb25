/** @file The checker finds what is untrue: a true report of a real model has no fault; with one lie in it, or one bit of the file changed, it has. */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { check, type ManifestClaims } from "./check.ts";
import { byName } from "./check-quantize.ts";
import type { LayerClaim } from "./check-table.ts";
import { models, type TrainedModel } from "./models.ts";
import { readOnnx } from "./read-onnx.ts";
import type { Plan } from "./rows.ts";
import { Bench, type Written } from "./run-row.ts";

const folder = mkdtempSync(join(tmpdir(), "tersor-lies-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = models.find(({ name }) => name === "ds-cnn") as TrainedModel;
const planOf = (step: string, fixed: Plan["fixed"], data?: string): Plan => ({
  name: step,
  step,
  factors: {},
  fixed: fixed ?? {},
  fits: () => true,
  ...(data && { data }),
});

/** A report that can be written to. */
interface Report {
  layers: { -readonly [key in keyof LayerClaim]: LayerClaim[key] }[];
  left: { weight: string; reason: string }[];
  rewritten: { weight: string }[];
  groups: { removed: number }[];
  unrecovered: { layer: string; reason: string }[];
  params: { before: number; after: number };
}
interface Story {
  manifest: {
    input: { bytes: number; files: { sha256: string }[] };
    output: { bytes: number; files: { bytes: number; sha256: string }[] };
  };
  report: Report & { layers: { zeros: number; weight: string }[] };
  written: Written;
}

/** What is found of a copy of the report, once `lie` has changed it. */
function found(written: Written, lie: (story: Story) => void): string[] {
  const bytes = readFileSync(written.after);
  const manifest = JSON.parse(JSON.stringify(written.manifest)) as ManifestClaims;
  const [step] = manifest.steps;
  lie({ manifest, report: step?.report, written } as unknown as Story);
  try {
    return check(manifest, written);
  } finally {
    writeFileSync(written.after, bytes);
  }
}

/** Puts other bytes into the file, and their hash into the manifest: only what is said of the layers is untrue then. */
function replaceFile({ manifest, written }: Story, bytes: Uint8Array): void {
  writeFileSync(written.after, bytes);
  const [file] = manifest.output.files;
  if (!file) throw new Error("the manifest names no file");
  file.sha256 = createHash("sha256").update(bytes).digest("hex");
  file.bytes = bytes.length;
  manifest.output.bytes = bytes.length;
}

/** Flips the lowest bit of a byte of a constant. */
function flip(story: Story, name: string, at = 0): void {
  const bytes = Buffer.from(readFileSync(story.written.after));
  const raw = byName(readOnnx(story.written.after)).get(name)?.raw;
  if (!raw) throw new Error(`no constant "${name}"`);
  const place = bytes.indexOf(raw);
  bytes[place + at] = (bytes[place + at] as number) ^ 1;
  replaceFile(story, bytes);
}

const layer = ({ report }: Story, weight: string) => {
  const claim = report.layers.find((each) => each.weight === weight);
  if (!claim) throw new Error(`no layer "${weight}"`);
  return claim;
};

type Lie = readonly [name: string, lie: (story: Story) => void, found: RegExp];

const about: Readonly<Record<string, { plan: Plan; row: Record<string, string | number>; lies: readonly Lie[] }>> = {
  quantized: {
    plan: planOf("quantize", { dtype: "int8", layers: "conv0,pw*,logits,dw*@keep" }),
    row: {},
    lies: [
      [
        "a layer that is float is said to be quantized",
        (s) =>
          Object.assign(layer(s, "dw1.w"), {
            status: "quantized",
            spec: "int8 channel",
            format: "DequantizeLinear",
            reason: undefined,
          }),
        /no operator reads codes|float as before/,
      ],
      ["a kept weight has another bit", (s) => flip(s, "dw2.w"), /is not what it was/],
      ["a bias has another bit", (s) => flip(s, "pw1.b"), /changed/],
      [
        "the wrong dtype",
        (s) => Object.assign(layer(s, "pw0.w"), { spec: "int4 channel" }),
        /said to be int4 channel, in the file int8/,
      ],
      [
        "one scale where there is one for each channel",
        (s) => Object.assign(layer(s, "pw0.w"), { spec: "int8 tensor" }),
        /said to have one scale/,
      ],
      ["a code is another", (s) => flip(s, "pw2.w_quantized", 77), /element 77/],
      [
        "wrong bytes of a layer",
        (s) => Object.assign(layer(s, "pw3.w"), { bytesAfter: layer(s, "pw3.w").bytesAfter - 64 }),
        /bytesAfter/,
      ],
      ["wrong dims", (s) => Object.assign(layer(s, "pw3.w"), { dims: [64, 32, 1, 1] }), /dims/],
      [
        "a constant that stays float is left out",
        ({ report }) => void report.left.splice(0, 1),
        /stays float and is not listed/,
      ],
      ["no reason", (s) => Object.assign(layer(s, "dw0.w"), { reason: "" }), /without a reason/],
      [
        "a quantized layer is left out",
        ({ report }) =>
          void report.layers.splice(
            report.layers.findIndex(({ weight }) => weight === "conv0.w"),
            1,
          ),
        /is gone, and nothing says so/,
      ],
      [
        "the hash of the output",
        ({ manifest }) => Object.assign(manifest.output.files[0] ?? {}, { sha256: "0".repeat(64) }),
        /hash/,
      ],
      [
        "the bytes of the output",
        ({ manifest }) => Object.assign(manifest.output, { bytes: manifest.output.bytes + 1 }),
        /bytes, it is/,
      ],
      [
        "the hash of the input",
        ({ manifest }) => Object.assign(manifest.input.files[0] ?? {}, { sha256: "1".repeat(64) }),
        /hash/,
      ],
    ],
  },
  "rounding that is learned": {
    plan: planOf("quantize", { dtype: "int4", method: "adaround", iterations: 4, calibrationSamples: 4 }, "calibrate"),
    row: {},
    lies: [
      [
        "a bias that was trained is not said to be rewritten",
        ({ report }) => void report.rewritten.splice(0, 1),
        /changed \(float32 → float32\), and nothing says so/,
      ],
    ],
  },
  zeros: {
    plan: planOf("prune", { structure: "2:4", compressed: false }),
    row: {},
    lies: [
      [
        "a zero more than there is",
        ({ report }) => Object.assign(report.layers[2] ?? {}, { zeros: (report.layers[2]?.zeros ?? 0) + 1 }),
        /zeros, in the file/,
      ],
      ["a weight that stays has another bit", (s) => flip(s, "pw1.w", firstNonZero(s, "pw1.w")), /element \d+ is/],
      ["a bias has another bit", (s) => flip(s, "pw1.b"), /is no layer's/],
      [
        "a pattern that is not kept",
        (s) => Object.assign(s.written.manifest.steps[0]?.report ?? {}, {}) && rename(s, "1:4"),
        /of 4 in a row are not zero/,
      ],
    ],
  },
  cut: {
    plan: planOf(
      "prune",
      {
        structure: "channels",
        ratio: 0.5,
        criterion: "l1",
        ranking: "layer",
        compressed: false,
        calibrationSamples: 4,
      },
      "calibrate",
    ),
    row: { recover: "least-squares" },
    lies: [
      [
        "a channel that is said to be gone is there",
        ({ report }) => Object.assign(report.groups[0] ?? {}, { removed: (report.groups[0]?.removed ?? 0) + 1 }),
        /are said to be gone/,
      ],
      [
        "a recovery that did nothing",
        (s) => replaceFile(s, readFileSync(s.written.plain as string)),
        /said to be solved anew/,
      ],
      [
        "a layer that was solved is said not to be",
        ({ report }) => void report.unrecovered.push({ layer: "pw1", reason: "no reason" }),
        /said not to be made up for/,
      ],
      [
        "fewer parameters than there are",
        ({ report }) => Object.assign(report.params, { after: report.params.after - 1 }),
        /params after/,
      ],
    ],
  },
};

function firstNonZero({ written }: Story, name: string): number {
  const raw = byName(readOnnx(written.after)).get(name)?.raw ?? new Uint8Array(0);
  return raw.findIndex((byte) => byte !== 0);
}

function rename({ report }: Story, structure: string): void {
  Object.assign(report, { structure });
}

describe.each(Object.entries(about))("%s", (_, { plan, row, lies }) => {
  let written: Written;
  beforeAll(async () => {
    const kept = join(folder, plan.name + Object.keys(row).join());
    written = await new Bench(kept).write(model, plan, row);
  });

  test("a true report has no fault", () => {
    expect(found(written, () => {})).toEqual([]);
  });

  test.each(lies)("%s", (__, lie, fault) => {
    expect(found(written, lie).join("\n")).toMatch(fault);
  });
});
