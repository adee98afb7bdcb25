/**
 * @file Products with a constant matrix on the right, stored as [inputs, outputs] or turned, as [outputs, inputs]. ONNX Runtime has kernels for
 * codes of the first form alone: in front of a Gemm with transB, or of a Transpose, it decodes the whole matrix at every run.
 */
import { attr } from "../../ir/attribute.ts";
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { own } from "../../util/own.ts";
import { opKey, type WeightLayer, type WeightSite } from "../layers/sites.ts";

interface ProductRow {
  /** Attribute that says the second operand is turned. */
  readonly turned?: string;
  /** Why its kernel does more than multiply. */
  obstacle(node: Node): string | undefined;
  /** Slot of what is added to the product. */
  readonly bias?: number;
}

const rows: Readonly<Record<string, ProductRow>> = {
  MatMul: { obstacle: () => undefined },
  Gemm: {
    turned: "transB",
    bias: 2,
    obstacle(node) {
      if (node.int("transA", 0) !== 0) return "its first operand is transposed";
      const isScaled = node.float("alpha", 1) !== 1 || (node.inputs[2] && node.float("beta", 1) !== 1);
      return isScaled ? "alpha or beta is not 1" : undefined;
    },
  },
  "com.microsoft.FusedMatMul": {
    turned: "transB",
    obstacle: (node) =>
      node.int("transA", 0) + node.int("transBatchA", 0) + node.int("transBatchB", 0) > 0 ||
      node.float("alpha", 1) !== 1
        ? "it transposes or scales as well"
        : undefined,
  },
};

/** Whether a site is a product that reads its matrix turned. */
export function isTurned({ node, input, turn }: WeightSite): boolean {
  const row = own(rows, opKey(node));
  return row !== undefined && input === 1 && (node.int(row.turned ?? "", 0) === 1) !== (turn !== undefined);
}

/** Lets a turned product read a matrix [inputs, outputs] instead. */
export function straighten({ node, input }: WeightSite, matrix: Value): void {
  const { turned } = own(rows, opKey(node)) as ProductRow;
  if (turned) node.attributes.delete(turned);
  node.setInput(input, matrix);
}

/** Why a site is no plain product with a matrix on the right; undefined where it is. */
export function productObstacle({ node, input }: WeightSite): string | undefined {
  const row = own(rows, opKey(node));
  if (!row || input !== 1) return "MatMulNBits replaces products with a constant right operand only";
  return row.obstacle(node);
}

/** Puts a product of another operator in the place of a site's; what the site adds is added behind it. */
export function replaceProduct(
  { node }: WeightSite,
  product: {
    opType: string;
    domain: string;
    inputs: readonly Value[];
    attributes: Record<string, ReturnType<typeof attr.int>>;
  },
): void {
  const { graph } = node;
  const { bias } = own(rows, opKey(node)) as ProductRow;
  const added = bias === undefined ? undefined : node.inputs[bias];
  const spec = { ...product, inputs: [node.inputs[0], ...product.inputs] };
  if (!added) {
    graph.replaceNode(node, spec);
    return;
  }
  const name = graph.uniqueNodeName(`${node.name || node.output().name}_${product.opType}`);
  const sums = graph.addNode({ ...spec, name, outputs: [`${node.output().name}_product`] }, { before: node }).output();
  graph.replaceNode(node, { opType: "Add", inputs: [sums, added] });
}

/** The layer as one whose matrix is stored [inputs, outputs]: elements are turned when they are read. */
export function turnedLayer(layer: WeightLayer): WeightLayer {
  const { weight, axes } = layer;
  return { ...layer, weight: turnedTensor(weight), axes: { channel: 1 - axes.channel, group: 1 - axes.group } };
}

/** A matrix of whole bytes with its axes exchanged. */
function turnedTensor({ dtype, dims, bytes }: Tensor): Tensor {
  const [rows = 1, columns = 1] = dims;
  const size = bytes.byteLength / Math.max(1, rows * columns);
  function* chunks(): Iterable<Uint8Array> {
    const from = bytes.read(0, bytes.byteLength);
    // Some columns at a time: elements of 1, 2 or 4 bytes alike.
    const band = Math.max(1, Math.floor((1 << 20) / Math.max(1, rows * size)));
    for (let first = 0; first < columns; first += band) {
      const count = Math.min(band, columns - first);
      const out = new Uint8Array(count * rows * size);
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < count; column++) {
          const at = (row * columns + first + column) * size;
          const to = (column * rows + row) * size;
          for (let byte = 0; byte < size; byte++) out[to + byte] = from[at + byte] as number;
        }
      yield out;
    }
  }
  return new Tensor(dtype, [columns, rows], new ComputedSource(bytes.byteLength, chunks));
}

/** The value with its two axes exchanged, which runtimes compute once, when they load the model. */
export function turnedValue(value: Value, before: Node): Value {
  const { graph, name } = value;
  const attributes = { perm: attr.ints([1, 0]) };
  const spec = { opType: "Transpose", inputs: [value], outputs: [`${name}_turned`], attributes };
  return graph.addNode({ ...spec, name: graph.uniqueNodeName(`${name}_Transpose`) }, { before }).output();
}
