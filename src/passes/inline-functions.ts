/** @file Pass: puts the bodies of model-local functions in the place of their calls. */
import type { FunctionDef } from "../ir/model.ts";
import type { Node } from "../ir/node.ts";
import { withAttributes } from "../ops/infer.ts";
import { TersorError } from "../util/errors.ts";
import { removeDeadCode } from "./dead-code.ts";
import { inlineBody } from "./inline-body.ts";
import { edit, type Pass } from "./pass.ts";

/** Rounds after which functions are taken to call themselves. */
const DEPTH_LIMIT = 32;

/**
 * Afterwards the model has no functions. Outputs keep their names; values inside a body are named after the call.
 * @throws bad-model for functions that call themselves, or that need other operator versions than the model
 */
export const inlineFunctions: Pass = (model) => {
  if (model.functions.length === 0) return { model, modified: false };
  const { model: inlined } = edit(model, (copy) => {
    const find = ({ domain, opType, overload }: Node) =>
      copy.functions.find((fn) => fn.domain === domain && fn.name === opType && fn.overload === overload);
    for (const fn of copy.functions) checkImports(fn, copy.opsetImports);
    for (let depth = 0; ; depth++) {
      const calls = copy.graphs().flatMap((graph) => graph.nodes.filter((node) => find(node)));
      if (calls.length === 0) return true;
      if (depth === DEPTH_LIMIT)
        throw new TersorError(
          "bad-model",
          `${calls[0]}: functions nested deeper than ${DEPTH_LIMIT}: a function must not call itself. The model is not valid ONNX.`,
        );
      for (const call of calls) {
        const body = withAttributes(find(call) as FunctionDef, call);
        inlineBody(call, body, call.inputs);
      }
    }
  });
  inlined.functions = [];
  return { model: removeDeadCode(inlined).model, modified: true };
};

/** A function may import versions of its own; where they differ from the model's, its nodes would change their meaning. */
function checkImports(fn: FunctionDef, imports: Map<string, number>): void {
  for (const [domain, version] of fn.opsetImports) {
    const own = imports.get(domain) ?? version;
    if (own !== version)
      throw new TersorError(
        "bad-model",
        `function "${fn.domain}.${fn.name}": imports ${domain || "ai.onnx"} ${version}: expected ${own} as the model. Bring both to one version with convertOpset first.`,
      );
    imports.set(domain, version);
  }
}
