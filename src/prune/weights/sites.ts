/** @file The weights that single zeros are put into, as matrices [outputs, inputs]. */
import type { Model } from "../../ir/model.ts";
import type { Value } from "../../ir/value.ts";
import { elementCount, type Tensor } from "../../tensor/tensor.ts";
import type { Named } from "../../util/name-pattern.ts";
import { axisFirst, channelsFirst } from "../channels/scores.ts";
import { analyze } from "../graph/analysis.ts";
import { layerName } from "../graph/groups.ts";
import { type Reader, readersOf } from "../graph/readers.ts";

/** One constant that a layer multiplies with, however often it is used. */
export interface WeightSite extends Named {
  readonly name: string;
  readonly opType: string;
  readonly value: Value;
  readonly tensor: Tensor;
  /** The axis that becomes the rows of the matrix. */
  readonly outAxis: number;
  /** Columns between one input and the next: the places of a kernel. */
  readonly inner: number;
  readonly rows: number;
  readonly columns: number;
  /** How it reads activations, for criteria that look at them. */
  readonly reader: Reader | undefined;
}

/** Tables that are looked up are no layers: to read a row costs the same whatever is in it. */
const lookups = new Set(["Gather"]);

/** The float32 weights of a model's layers, in graph order, with the analysis they were found by. */
export function weightSites(model: Model) {
  const analysis = analyze(model);
  const readers = readersOf(analysis);
  const inAxes = new Map(analysis.summed.map(({ port }) => [port.value, port.axis]));
  const found = new Map<Value, WeightSite>();
  for (const { node, port } of analysis.made) {
    const { value } = port;
    const { tensor } = value;
    if (found.has(value) || lookups.has(node.opType) || tensor?.dtype !== "float32" || tensor.dims.length < 2) continue;
    const name = layerName(node);
    const rows = tensor.dims[port.axis] as number;
    const inAxis = inAxes.get(value) ?? 1;
    const rest = tensor.dims.filter((_, axis) => axis !== port.axis);
    const at = inAxis > port.axis ? inAxis - 1 : inAxis;
    found.set(value, {
      index: found.size,
      name,
      names: [name, value.name, node.opType],
      opType: node.opType,
      value,
      tensor,
      outAxis: port.axis,
      inner: elementCount(rest.slice(at + 1)),
      rows,
      columns: rows > 0 ? tensor.size / rows : 0,
      reader: value.uses.size === 1 ? readers.find((reader) => reader.node === node && isMatrix(reader)) : undefined,
    });
  }
  return { analysis, sites: [...found.values()] };
}

/** Operators whose second moments belong to a weight as one matrix. */
const matrices = new Set(["Conv", "Gemm", "MatMul"]);

/** Whether the weight is one matrix on the right, whose rows are all summed over the same inputs. */
function isMatrix({ node, weight, layout }: Reader): boolean {
  const isOne = layout.batch.every((axis) => layout.dims[axis] === 1);
  return isOne && matrices.has(node.opType) && node.inputs[1] === weight && layout.out.length === 1;
}

/** The matrix of a weight, a copy. */
export function matrixOf({ tensor, outAxis }: WeightSite): Float32Array {
  return outAxis === 0 ? tensor.toFloat32().slice() : channelsFirst(tensor, outAxis);
}

/** Numbers of a weight, in the order in which it is stored, as its matrix. */
export function rowsFirst({ tensor, outAxis }: WeightSite, stored: Float64Array): Float64Array {
  return outAxis === 0 ? stored : axisFirst(stored, tensor.dims, outAxis);
}

/** A matrix in the order in which the weight is stored. */
export function inStoredOrder({ tensor, outAxis }: WeightSite, matrix: Float32Array): Float32Array {
  if (outAxis === 0) return matrix;
  const rows = tensor.dims[outAxis] as number;
  const outer = elementCount(tensor.dims.slice(0, outAxis));
  const inner = elementCount(tensor.dims.slice(outAxis + 1));
  const result = new Float32Array(matrix.length);
  for (let r = 0; r < rows; r++)
    for (let o = 0; o < outer; o++)
      result.set(matrix.subarray((r * outer + o) * inner, (r * outer + o + 1) * inner), (o * rows + r) * inner);
  return result;
}
