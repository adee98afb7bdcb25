/** @file Pass: constants of mostly zeros are stored as their other elements and where those are. */
import type { Model } from "../ir/model.ts";
import { dtypeInfo } from "../tensor/dtype.ts";
import { int64, Tensor } from "../tensor/tensor.ts";
import { MemorySource, readAll } from "../util/bytes.ts";
import { edit } from "./pass.ts";

/** One constant that is stored sparsely. */
export interface SparseConstant {
  readonly name: string;
  readonly elements: number;
  readonly nonzero: number;
  /** Bytes of its elements before and after. */
  readonly before: number;
  readonly after: number;
}

/** Bytes of an index. */
const INDEX = 8;

/**
 * Takes the coordinate form of ONNX (`sparse_initializer`) where it has fewer bytes: an index of 8 bytes stands beside every element, so of float32 less
 * than a third may be left. Not every runtime loads it. Constants of subgraphs, and those that are inputs or outputs too, stay.
 */
export function sparseInitializers(model: Model): {
  readonly model: Model;
  readonly modified: boolean;
  readonly constants: readonly SparseConstant[];
} {
  const constants: SparseConstant[] = [];
  const result = edit(model, (copy) => {
    for (const value of copy.graph.initializers) {
      const { tensor } = value;
      if (!tensor || value.isInput || value.isOutput || tensor.dims.length === 0) continue;
      const { bits } = dtypeInfo(tensor.dtype);
      if (tensor.dtype === "string" || bits < 8) continue;
      const width = bits / 8;
      const bytes = readAll(tensor.bytes);
      const at: number[] = [];
      for (let i = 0; i < tensor.size; i++)
        for (let b = 0; b < width; b++)
          if (bytes[i * width + b] !== 0) {
            at.push(i);
            break;
          }
      const after = at.length * (width + INDEX);
      if (at.length === 0 || after >= bytes.length) continue;
      const packed = new Uint8Array(at.length * width);
      at.forEach((i, place) => {
        packed.set(bytes.subarray(i * width, (i + 1) * width), place * width);
      });
      const values = new Tensor(tensor.dtype, [at.length], new MemorySource(packed));
      value.sparse = { values, indices: int64([at.length], at), dims: tensor.dims };
      value.tensor = undefined;
      constants.push({
        name: value.name,
        elements: tensor.size,
        nonzero: at.length,
        before: bytes.length,
        after,
      });
    }
    if (constants.length > 0) copy.irVersion = Math.max(copy.irVersion, SPARSE_IR);
    return constants.length > 0;
  });
  return { ...result, constants };
}

/** Version of the format that has sparse initializers. */
const SPARSE_IR = 5;
