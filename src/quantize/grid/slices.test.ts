import { expect, test } from "vitest";
import { piecesOf } from "./pieces.ts";
import { slicesOf } from "./slices.ts";

const conv = { channel: 0, group: 1 };
const matMul = { channel: 1, group: 0 };

test("granularities cut the tensor as DequantizeLinear reads it", () => {
  expect(slicesOf([8, 4, 3, 3], conv, { per: "tensor" }, "w")).toMatchObject({
    form: "runs",
    rows: 1,
    n: 288,
    count: 1,
    scaleDims: [],
  });
  expect(slicesOf([8, 4, 3, 3], conv, { per: "channel" }, "w")).toMatchObject({
    form: "runs",
    rows: 8,
    n: 36,
    scaleDims: [8],
    axis: 0,
  });
  expect(slicesOf([64, 10], matMul, { per: "channel" }, "w")).toMatchObject({
    form: "columns",
    rows: 64,
    n: 10,
    scaleDims: [10],
    axis: 1,
  });
  expect(slicesOf([64, 10], matMul, { per: "group", size: 16 }, "w")).toMatchObject({
    form: "columns",
    blocks: 4,
    rows: 16,
    n: 10,
    count: 40,
    scaleDims: [4, 10],
    blockSize: 16,
  });
  expect(slicesOf([2, 12, 5], { channel: 1, group: 2 }, { per: "channel" }, "w")).toMatchObject({
    form: "columns",
    rows: 2,
    n: 60,
    fold: 5,
    count: 12,
  });
});

test("a group size that does not divide names sizes that do", () => {
  expect(() => slicesOf([512, 100], { channel: 0, group: 1 }, { per: "group", size: 32 }, 'weight "fc.w"')).toThrow(
    'weight "fc.w" [512, 100]: group size 32 does not divide axis 1 (100). Use 20, 25, 50 or granularity "channel".',
  );
});

test.each([
  [[3, 700, 1000], { per: "channel" } as const],
  [[3, 700, 1000], { per: "group", size: 100 } as const],
  [[3, 700, 1000], { per: "tensor" } as const],
  [[1, 1, 2_000_000], { per: "channel" } as const],
])("pieces of %j cover every element once, in order", (dims, granularity) => {
  const slices = slicesOf(dims, { channel: 1, group: 1 }, granularity, "w");
  let next = 0;
  for (const piece of piecesOf(slices)) {
    expect(piece.start).toBe(next);
    expect(piece.length).toBe(piece.rows * piece.n);
    next += piece.length;
  }
  expect(next).toBe(dims.reduce((a, b) => a * b, 1));
});
