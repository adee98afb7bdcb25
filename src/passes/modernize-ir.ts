/** @file Pass: takes initializers off the inputs, where IR version 3 wanted them listed or where no one means to override them. */
import { unlistInitializers } from "./constants.ts";
import { edit, type Pass } from "./pass.ts";

export interface ModernizeOptions {
  /**
   * Also takes off those of newer models, which are defaults that a caller may override: old exporters listed every
   * weight. Nothing can be folded into or out of a weight that might be replaced. Default false: the inputs stay.
   */
  readonly fixDefaults?: boolean;
}

/** Models of IR version 3 become version 4: see {@link unlistInitializers}. */
export const modernizeIr: Pass<ModernizeOptions> = (model, { fixDefaults = false } = {}) =>
  edit(model, (copy) => {
    const wasOld = unlistInitializers(copy);
    const defaults = fixDefaults ? copy.graph.inputs.filter((input) => input.isConstant) : [];
    for (const input of defaults) copy.graph.removeInput(input);
    return wasOld || defaults.length > 0;
  });
