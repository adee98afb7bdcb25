import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  formatBytes,
  formatChange,
  formatCount,
  formatDb,
  formatDims,
  formatDuration,
  formatMs,
  palette,
  plural,
  printable,
  renderTable,
  truncateMiddle,
  widthOf,
} from "./render.ts";

const escapeCode = String.fromCharCode(27);

describe("numbers with units", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [10_822_323, "10.8 MB"],
    [999_600, "1.00 MB"],
    [432_445_475, "432 MB"],
    [2.45e9, "2.45 GB"],
  ])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [7, "7"],
    [12_345, "12.3 k"],
    [2_690_000, "2.69 M"],
    [7e12, "7.00 T"],
  ])("%d things are %s", (count, text) => expect(formatCount(count)).toBe(text));

  it.each([
    [0.0123, "12.3 µs"],
    [0.83, "830 µs"],
    [1.236, "1.24 ms"],
    [999.6, "1.00 s"],
    [12_340, "12.3 s"],
  ])("%d ms are %s", (ms, text) => expect(formatMs(ms)).toBe(text));

  it.each([
    [10_800, 2_880, "−73 %"],
    [100, 101.24, "+1.2 %"],
    [5, 5, "±0 %"],
    [100_000, 100_001, "±0 %"],
    [0, 3, "new"],
  ])("from %d to %d is %s", (before, after, text) => expect(formatChange(before, after)).toBe(text));

  it("has words for what can't be a number", () => {
    expect([formatDb(34.25), formatDb(-3), formatDb(Number.POSITIVE_INFINITY), formatDb(undefined)]).toEqual([
      "34.3 dB",
      "−3.0 dB",
      "∞ dB",
      "–",
    ]);
    expect([formatDims([64, 3, 3]), formatDims([]), formatDims(["N", null])]).toEqual(["64×3×3", "scalar", "N×?"]);
    expect([formatDuration(5), formatDuration(125), formatDuration(3725)]).toEqual(["0:05", "2:05", "1:02:05"]);
    expect([plural(1, "layer"), plural(2, "entry", "entries")]).toEqual(["1 layer", "2 entries"]);
  });
});

describe("text", () => {
  it("keeps control characters, colours and reversed text of a model's names from the terminal", () => {
    expect(printable(`a${escapeCode}[31mb\nc\u202ed`)).toBe("a\\x1b[31mb\\x0ac\\x202ed");
  });

  it("counts cells: wide characters fill two, colours and accents none", () => {
    expect([widthOf("卷积"), widthOf(`${escapeCode}[1mab${escapeCode}[22m`), widthOf("e\u0301")]).toEqual([4, 2, 1]);
  });

  it("is cut in the middle", () => {
    expect(truncateMiddle("encoder.layers.0.attention.query", 15)).toBe("encoder…n.query");
    expect(truncateMiddle("short", 15)).toBe("short");
  });

  it("is never wider than asked for", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat(30), (text, width) => {
        expect(widthOf(truncateMiddle(text, width))).toBeLessThanOrEqual(width);
      }),
      { seed: 1 },
    );
  });
});

describe("tables", () => {
  const columns = [{ title: "#", align: "right" }, { title: "layer", shrink: true }, { title: "bytes" }] as const;
  const rows = [
    ["0", "encoder.layers.0.attention.query", "1.2 MB"],
    ["10", "头", "3 kB"],
  ];

  it("align their columns", () => {
    expect(renderTable(columns, rows)).toMatchInlineSnapshot(`
      " #  layer                             bytes
       0  encoder.layers.0.attention.query  1.2 MB
      10  头                                3 kB"
    `);
  });

  it("shrink the columns that may to fit the terminal", () => {
    const text = renderTable(columns, rows, { width: 30 });
    expect(Math.max(...text.split("\n").map(widthOf))).toBe(30);
    expect(text).toContain("encoder.l…on.query");
  });

  it("leave out what is optional where the others do not fit, the last of them first", () => {
    const some = [
      { title: "name" },
      { title: "kind", optional: true },
      { title: "size", optional: true },
      { title: "db" },
    ];
    const row = ["conv", "Conv2d", "3×3×3", "40.0"];
    expect(renderTable(some, [row], { width: 40 }).split("\n")[1]).toBe("conv  Conv2d  3×3×3  40.0");
    expect(renderTable(some, [row], { width: 20 }).split("\n")[1]).toBe("conv  Conv2d  40.0");
    expect(renderTable(some, [row], { width: 12 }).split("\n")[1]).toBe("conv  40.0");
  });
});

describe("colours", () => {
  const isOn = (isTty: boolean, env: Record<string, string>) => palette(isTty, env).red("x") !== "x";

  it("follow the terminal, NO_COLOR and FORCE_COLOR", () => {
    expect(isOn(true, {})).toBe(true);
    expect(isOn(false, {})).toBe(false);
    expect(isOn(true, { NO_COLOR: "1" })).toBe(false);
    expect(isOn(true, { NO_COLOR: "" })).toBe(true);
    expect(isOn(true, { TERM: "dumb" })).toBe(false);
    expect(isOn(false, { FORCE_COLOR: "1" })).toBe(true);
    expect(isOn(true, { FORCE_COLOR: "0" })).toBe(false);
    expect(isOn(false, { FORCE_COLOR: "1", NO_COLOR: "1" })).toBe(false);
  });
});
