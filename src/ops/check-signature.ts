/** @file Whether a node uses its operator as the schema allows: number of arguments, attributes. Types and shapes are not looked at. */
import { nearestNames } from "../util/nearest.ts";
import { type FormalArgument, knownDomains, knownOps, normalDomain, type OpSchema, schemaVersions } from "./schema.ts";

/** What the check needs to know of a node. */
export interface NodeSignature {
  readonly domain: string;
  readonly opType: string;
  /** One entry an input: false for one that is left out in the middle (an empty name in the file). */
  readonly inputs: readonly boolean[];
  readonly outputs: readonly boolean[];
  /** [name, type as the IR names it]. */
  readonly attributes: Iterable<readonly [name: string, type: string]>;
}

/**
 * Everything in which a node departs from the schema of its operator at version `opset` of its domain; empty when it is
 * right. Each text is a phrase to put behind `node "name" (Conv): `. A domain without schemas is not judged.
 */
export function checkSignature(node: NodeSignature, opset: number): readonly string[] {
  if (!knownDomains().includes(normalDomain(node.domain))) return [];
  const versions = schemaVersions(node.domain, node.opType);
  const schema = versions.findLast((version) => version.sinceVersion <= opset);
  if (!schema) return [unknownOp(node, versions[0], opset)];
  const problems = schema.deprecated
    ? [`the operator is deprecated since opset ${schema.sinceVersion}: expected another one at opset ${opset}`]
    : [];
  checkArguments("input", schema.inputs, schema.inputCount, node.inputs, problems);
  checkArguments("output", schema.outputs, schema.outputCount, node.outputs, problems);
  checkAttributes(schema, node.attributes, problems);
  return problems;
}

function domainName(domain: string): string {
  return normalDomain(domain) || "ai.onnx";
}

function unknownOp(node: NodeSignature, first: OpSchema | undefined, opset: number): string {
  const domain = domainName(node.domain);
  if (first) return `the operator came with opset ${first.sinceVersion} of ${domain}: the model imports opset ${opset}`;
  return `unknown operator of ${domain}${suggestion(node.opType, knownOps(node.domain))}`;
}

function suggestion(name: string, known: Iterable<string>): string {
  const [nearest] = nearestNames(name, known, 1);
  return nearest ? `; did you mean "${nearest}"?` : "";
}

function checkArguments(
  what: "input" | "output",
  formals: readonly FormalArgument[],
  [least, most]: readonly [number, number],
  present: readonly boolean[],
  problems: string[],
): void {
  const count = present.findLastIndex((there) => there) + 1;
  if (count > most) problems.push(`too many ${what}s: expected at most ${most}, got ${count}`);
  const missing = formals.filter((formal, i) => formal.option === "single" && !present[i]);
  for (const formal of missing) problems.push(`${what} "${formal.name}" is missing`);
  if (missing.length === 0 && count < least)
    problems.push(`too few ${what}s: expected at least ${least}, got ${count}`);
}

function checkAttributes(
  schema: OpSchema,
  attributes: Iterable<readonly [name: string, type: string]>,
  problems: string[],
): void {
  const given = new Map(attributes);
  for (const [name, type] of given) {
    const expected = schema.attributes.get(name);
    if (!expected)
      problems.push(
        `unknown attribute "${name}" of version ${schema.sinceVersion}${suggestion(name, schema.attributes.keys())}`,
      );
    else if (expected.type !== type) problems.push(`attribute "${name}": expected type ${expected.type}, got ${type}`);
  }
  for (const { name, required, type } of schema.attributes.values())
    if (required && !given.has(name)) problems.push(`attribute "${name}" (${type}) is missing`);
}
