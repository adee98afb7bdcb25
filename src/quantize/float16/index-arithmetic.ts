/**
 * @file Float arithmetic on sizes, indices and positions. Float16 counts to 2,048 only: what is computed from integers and
 * ends in integers, in the scales of a Resize or in the phase of a sine stays float32.
 */
import type { Node } from "../../ir/node.ts";
import type { Value } from "../../ir/value.ts";
import { dtypeInfo, dtypeOfCode } from "../../tensor/dtype.ts";

const phases: ReadonlySet<string> = new Set(["Sin", "Cos"]);

export interface FloatFacts {
  isFloat(value: Value | undefined): boolean;
  /** Whether the input of a node has to be float32. */
  isPinned(node: Node, input: number): boolean;
}

/** Those of `nodes`, which are in topological order, that compute sizes, indices or positions. */
export function indexArithmetic(nodes: readonly Node[], { isFloat, isPinned }: FloatFacts): Set<Node> {
  const fromIntegers = new Set<Node>();
  for (const node of nodes) {
    if (node.subgraphs().length > 0 || !node.outputs.some(isFloat)) continue;
    const floats = node.inputs.filter((input) => isFloat(input) && !input?.isConstant);
    const others = node.inputs.filter((input) => input && !isFloat(input) && !input.isConstant);
    const derived = floats.every((input) => input?.producer && fromIntegers.has(input.producer));
    const starts = node.opType === "Cast" && others.length > 0;
    if (derived && (floats.length > 0 || starts)) fromIntegers.add(node);
  }
  const found = new Set<Node>();
  for (const node of [...fromIntegers].reverse()) {
    const uses = node.outputs.filter(isFloat).flatMap((output) => [...(output?.uses ?? [])]);
    const ends = uses.some((use) => isPinned(use.node, use.index) || found.has(use.node) || isIntegerCast(use.node));
    if (ends || phases.has(node.opType)) found.add(node);
  }
  return found;
}

function isIntegerCast(node: Node): boolean {
  if (node.opType !== "Cast" || node.domain !== "") return false;
  const { kind } = dtypeInfo(dtypeOfCode(node.int("to", 1), String(node)));
  return kind === "int" || kind === "uint";
}
