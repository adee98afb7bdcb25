/** @file Decomposition of GridSample on images: elements gathered at whole places, weighted by how near they are. */
import type { Value } from "../../ir/value.ts";
import { TersorError } from "../../util/errors.ts";
import type { Emitter } from "../emitter.ts";
import type { Decompositions } from "./decomposition.ts";

interface Axis {
  readonly size: number;
  readonly alignCorners: boolean;
  readonly padding: string;
}

/** From [-1, 1] over an axis to places in it; what lies outside is moved in, where the padding says so. */
function placesOf(op: Emitter, coordinates: Value, { size, alignCorners, padding }: Axis): Value {
  const span = alignCorners ? size - 1 : size;
  const least = alignCorners ? 0 : -0.5;
  const places = op.Add(op.Mul(op.Add(coordinates, 1), span / 2), least);
  if (padding === "zeros") return places;
  if (padding === "border") return op.Clip(places, 0, size - 1);
  if (span === 0) return op.Mul(places, 0);
  // Reflected at both ends: a triangle wave of twice the span.
  const from = op.Abs(op.Sub(places, least));
  const within = op.Sub(from, op.Mul(op.Floor(op.Div(from, 2 * span)), 2 * span));
  const reflected = op.Add(op.Sub(op.like(within, span), op.Abs(op.Sub(within, span))), least);
  return op.Clip(reflected, 0, size - 1);
}

/** Neighbours of places along one axis, each with its weight: 0 where it lies outside. */
function neighbours(op: Emitter, places: Value, size: number, isLinear: boolean): { at: Value; weight: Value }[] {
  const low = isLinear ? op.Floor(places) : op.Round(places);
  const share = op.Sub(places, low);
  const list = isLinear
    ? [
        { at: low, weight: op.Sub(op.like(share, 1), share) },
        { at: op.Add(low, 1), weight: share },
      ]
    : [{ at: low, weight: op.Expand(op.like(low, 1), op.shape(low)) }];
  return list.map(({ at, weight }) => {
    const inside = op.Clip(at, 0, size - 1);
    return { at: inside, weight: op.Mul(weight, op.mask(op.Equal(at, inside), weight)) };
  });
}

export const gridSamples = {
  // x [n, c, h, w], grid [n, h', w', 2] of (x, y) in [-1, 1]
  GridSample: ({ node, op, x: [x, grid] }) => {
    const mode = node.string("mode", "linear");
    if (op.rank(x) !== 4 || mode.endsWith("cubic"))
      throw new TersorError(
        "unsupported-op",
        `${node}: no gradient for this form: expected images [n, c, h, w] and mode linear or nearest, got rank ${op.rank(x)} and ${mode}. Choose another mode.`,
      );
    const [n = 1, c = 1, h = 1, w = 1] = op.shape(x);
    const [, rows = 1, columns = 1] = op.shape(grid);
    const count = rows * columns;
    const flat = op.reshape(x, [n, c, h * w]);
    const parts = op.emit("Split", [op.reshape(grid, [n, 1, count, 2]), { axis: 3, num_outputs: 2 }], 2);
    const [byColumn = [], byRow = []] = parts.map((part, i) => {
      const size = i === 0 ? w : h;
      const axis = {
        size,
        alignCorners: node.int("align_corners", 0) === 1,
        padding: node.string("padding_mode", "zeros"),
      };
      return neighbours(op, placesOf(op, op.Squeeze(part, [3]), axis), size, !mode.endsWith("nearest"));
    });
    const samples = byRow.flatMap((row) =>
      byColumn.map((column) => {
        const index = op.cast(op.Add(op.Mul(row.at, w), column.at), "int64");
        const values = op.GatherElements(flat, op.Expand(index, [n, c, count]), { axis: 2 });
        return op.Mul(values, op.Mul(row.weight, column.weight));
      }),
    );
    return [op.reshape(op.sum(samples), [n, c, rows, columns])];
  },
} satisfies Decompositions;
