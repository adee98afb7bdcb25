/** @file What runs models, and what it is made for. */
export type { Feeds, IoInfo, Outputs } from "../../runtime/io.ts";
export { ortWeb } from "../../runtime/ort-web.ts";
export type { CallOptions, ModelSource, Runtime, Session, SessionOptions } from "../../runtime/runtime.ts";
export type { Target } from "../../targets/target.ts";
export { parseTarget, targetNamed, targets } from "../../targets/targets.ts";
