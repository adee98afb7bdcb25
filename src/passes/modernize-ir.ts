/** @file Pass: brings models of IR version 3 to 4, where initializers are no longer listed as inputs. */
import { unlistInitializers } from "./constants.ts";
import { edit, type Pass } from "./pass.ts";

/** See {@link unlistInitializers}. ONNX Runtime never took feeds for such inputs: IR 3 initializers are constants. */
export const modernizeIr: Pass = (model) => edit(model, unlistInitializers);
