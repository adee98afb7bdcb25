/** @file Whether Tersor understands a model: its versions, and that each standard operator is used as its schema allows. */
import { type FunctionDef, type Model, nestedGraphs } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { append } from "../util/append.ts";
import { type ErrorCode, TersorError } from "../util/errors.ts";
import { checkSignature } from "./check-signature.ts";
import { maxIrVersion, maxOpset } from "./opset.ts";
import { normalDomain, schemaOf } from "./schema.ts";

export interface ModelProblem {
  /** `unsupported-op`: newer than Tersor or no standard operator; `bad-model`: not valid ONNX. */
  readonly code: Extract<ErrorCode, "bad-model" | "unsupported-op">;
  /** A whole sentence that names the node. */
  readonly message: string;
  readonly node?: Node;
}

/** Other domains are the business of a runtime, which may know more of their operators than a table. */
const judgedDomains: ReadonlySet<string> = new Set(["", "ai.onnx.ml"]);
const SHOWN = 5;

/** All problems of a model, in the order of its nodes; empty when Tersor and a standard runtime can be expected to take it. */
export function checkModel(model: Model): ModelProblem[] {
  const functions = new Set(model.functions.map(functionKey));
  const bodies = [model, ...model.functions];
  return [...checkIrVersion(model), ...checkOutputs(model), ...bodies.flatMap((body) => checkBody(body, functions))];
}

/** @throws unsupported-op or bad-model with the first problems; `name` opens the message. */
export function validateModel(model: Model, name = "model"): void {
  const problems = checkModel(model);
  const [first] = problems;
  if (!first) return;
  const more = problems.length > SHOWN ? ` … and ${problems.length - SHOWN} more.` : "";
  const shown = problems.slice(0, SHOWN).map((problem) => problem.message);
  throw new TersorError(first.code, `${name}: ${shown.join(" ")}${more}`);
}

function functionKey({ domain, name }: Pick<FunctionDef, "domain" | "name">): string {
  return `${normalDomain(domain)}\0${name}`;
}

function checkIrVersion({ irVersion }: Model): ModelProblem[] {
  if (irVersion >= 1 && irVersion <= maxIrVersion) return [];
  const message = `IR version: expected 1 to ${maxIrVersion}, got ${irVersion}. ${irVersion < 1 ? "The file is not valid ONNX." : "Save the model with an older one."}`;
  return [{ code: irVersion < 1 ? "bad-model" : "unsupported-op", message }];
}

/** Runtimes load such a model and give nothing; whatever is made of it has nothing to keep. */
function checkOutputs({ graph }: Model): ModelProblem[] {
  if (graph.outputs.length > 0) return [];
  return [
    {
      code: "bad-model",
      message: `graph "${graph.name}" has no outputs: expected at least one. List what it computes.`,
    },
  ];
}

function checkBody(body: Model | FunctionDef, functions: ReadonlySet<string>): ModelProblem[] {
  const problems: ModelProblem[] = [];
  const { opsetImports } = body;
  const opset = opsetImports.get("");
  const known = opset === undefined || (opset >= 1 && opset <= maxOpset);
  if (!known)
    problems.push({
      code: opset < 1 ? "bad-model" : "unsupported-op",
      message: `opset of ai.onnx: expected 1 to ${maxOpset}, got ${opset}. ${opset < 1 ? "The file is not valid ONNX." : "Export the model at an older opset."}`,
    });
  for (const graph of nestedGraphs(body.graph))
    for (const node of graph.nodes) {
      const domain = normalDomain(node.domain);
      if (!judgedDomains.has(domain) || functions.has(functionKey({ domain, name: node.opType }))) continue;
      if (known || domain !== "") append(problems, checkNode(node, opsetImports.get(domain)));
    }
  return problems;
}

function checkNode(node: Node, opset: number | undefined): ModelProblem[] {
  const { domain, opType } = node;
  if (opset === undefined) {
    const message = `${node}: the model imports no opset of ${domain || "ai.onnx"}. It is not valid ONNX.`;
    return [{ code: "bad-model", message, node }];
  }
  const code = schemaOf(domain, opType, opset) ? "bad-model" : "unsupported-op";
  const signature = {
    domain,
    opType,
    inputs: node.inputs.map((value) => value !== undefined),
    outputs: node.outputs.map((value) => value !== undefined),
    attributes: [...node.attributes].map(([name, { type }]) => [name, type] as const),
  };
  return checkSignature(signature, opset).map((problem) => {
    return { code, message: `${node}: ${problem}${problem.endsWith("?") ? "" : "."}`, node };
  });
}
