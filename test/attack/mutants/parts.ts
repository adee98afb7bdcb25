/** @file The parts of a model's message, of all its graphs and functions, and values that ask for trouble. */
import type {
  AttributeProto,
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from "../../../src/proto/messages.ts";
import { MemorySource } from "../../../src/util/bytes.ts";
import type { Rng } from "../../../src/util/rng.ts";

/** Damages the parts that it picks. */
export type Structural = (parts: Parts, rng: Rng) => void;

export interface Parts {
  readonly model: ModelProto;
  /** Graphs, the main one first. */
  readonly graphs: GraphProto[];
  readonly nodes: NodeProto[];
  readonly attributes: AttributeProto[];
  readonly tensors: TensorProto[];
  readonly infos: ValueInfoProto[];
  /** Lists of nodes: of graphs and of functions. */
  readonly bodies: NodeProto[][];
}

export function partsOf(model: ModelProto): Parts {
  const parts: Parts = { model, graphs: [], nodes: [], attributes: [], tensors: [], infos: [], bodies: [] };
  const inBody = (body: NodeProto[] | undefined) => {
    if (!body) return;
    parts.bodies.push(body);
    parts.nodes.push(...body);
    for (const attribute of body.flatMap((node) => node.attribute ?? [])) {
      parts.attributes.push(attribute);
      if (attribute.t) parts.tensors.push(attribute.t);
      if (attribute.g) inGraph(attribute.g);
    }
  };
  const inGraph = (graph: GraphProto) => {
    parts.graphs.push(graph);
    parts.tensors.push(...(graph.initializer ?? []));
    parts.infos.push(...(graph.input ?? []), ...(graph.output ?? []), ...(graph.valueInfo ?? []));
    graph.node ??= [];
    inBody(graph.node);
  };
  if (model.graph) inGraph(model.graph);
  for (const { node } of model.functions ?? []) inBody(node);
  return parts;
}

/** One of these; undefined of none. */
export function pick<T>(items: readonly T[] | undefined, rng: Rng): T | undefined {
  return items && items.length > 0 ? items[rng.int(items.length)] : undefined;
}

const prototypeNames = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "__defineGetter__"];

export const names: readonly string[] = [
  ...prototypeNames,
  ...[
    "",
    " ",
    "a/b",
    "../../up",
    "/abs",
    "a\0b",
    "a\nb",
    "\u202eevil",
    "\ud83d\ude00",
    "\u001b[2J",
    "*",
    "{",
    "%s",
    "0",
  ],
  "n".repeat(5000),
];

const sizes = [0n, 1n, 2n, 3n, 7n, -1n, -2n, 255n, 65_536n, 1n << 24n, 1n << 31n, 1n << 32n, 1n << 53n, 1n << 62n];

/** A size, an index or a version that nobody expects. */
export const oddInteger = (rng: Rng): bigint =>
  rng.int(12) === 0 ? -(1n << 63n) : (sizes[rng.int(sizes.length)] as bigint);

export const oddFloat = (rng: Rng): number =>
  [0, -1, 1e-45, 1e38, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.5][rng.int(8)] as number;

/** Changes one item of a list of integers, its length, or all of it. */
export function oddList(list: readonly bigint[], rng: Rng): bigint[] {
  const at = rng.int(Math.max(1, list.length));
  const choices = [
    () => list.map((item, i) => (i === at ? oddInteger(rng) : item)),
    () => list.map((item, i) => (i === at ? item + (rng.int(2) ? 1n : -1n) : item)),
    () => list.filter((_, i) => i !== at),
    () => [...list, oddInteger(rng)],
    () => [...list].reverse(),
    () => (rng.int(4) ? list.map((item) => (item < 0n ? item : item + 1n)) : Array.from({ length: 70 }, () => 1n)),
  ];
  return (choices[rng.int(choices.length)] as () => bigint[])();
}

/** Raw data of int64. */
export const int64Bytes = (values: readonly bigint[]): MemorySource =>
  new MemorySource(new Uint8Array(BigInt64Array.from(values).buffer));
