/** @file How many nodes the calls of a model's functions stand for. Written out, a kilobyte of functions may be terabytes. */
import { TersorError } from "../util/errors.ts";
import type { Graph } from "./graph.ts";
import { type FunctionDef, type Model, nestedGraphs } from "./model.ts";
import type { Node } from "./node.ts";

/** Nodes that the calls of a model may become. A function that calls another twice, which calls a third twice, … doubles them each time. */
const NODE_LIMIT = 200_000;

/** Everything that goes through functions call by call, runtimes included, takes as long as they are when written out. @throws bad-model, limit-exceeded */
export function checkCalls({ graph, functions }: Pick<Model, "graph" | "functions">): void {
  if (functions.length === 0) return;
  const byKey = new Map(functions.map((fn) => [keyOfCall({ ...fn, opType: fn.name }), fn]));
  const sizes = new Map<FunctionDef, number>();
  const total = sizeOf(graph, []);
  if (total <= NODE_LIMIT) return;
  const worst = [...sizes].reduce((a, b) => (b[1] > a[1] ? b : a));
  throw new TersorError(
    "limit-exceeded",
    `functions: their calls would become too many nodes: expected at most ${NODE_LIMIT}, got ${total} (one call of "${nameOfFunction(worst[0])}" alone is ${worst[1]}). Functions that call others several times multiply: inline or merge some of them first.`,
  );

  function sizeOf(body: Graph, open: readonly FunctionDef[]): number {
    let size = 0;
    for (const node of nestedGraphs(body).flatMap(({ nodes }) => nodes)) {
      const fn = byKey.get(keyOfCall(node));
      if (fn && open.includes(fn))
        throw new TersorError(
          "bad-model",
          `${node}: function "${nameOfFunction(fn)}" calls itself${open.length > 1 ? `, by way of ${open.map(nameOfFunction).join(", ")}` : ""}: a function must not call itself. The model is not valid ONNX.`,
        );
      if (fn && !sizes.has(fn)) sizes.set(fn, sizeOf(fn.graph, [...open, fn]));
      size += fn ? (sizes.get(fn) as number) : 1;
    }
    return size;
  }
}

/** How messages name a function. */
export function nameOfFunction({ domain, name }: FunctionDef): string {
  return domain ? `${domain}.${name}` : name;
}

/** The same text for a function and for its calls. */
export function keyOfCall({ domain, opType, overload }: Pick<Node, "domain" | "opType" | "overload">): string {
  return JSON.stringify([domain, opType, overload]);
}
