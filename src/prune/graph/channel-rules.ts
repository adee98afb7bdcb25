/** @file The table of channel rules: how the axes of an operator's inputs and outputs hang together. */
import type { Node } from "../../ir/node.ts";
import type { ChannelRule, ChannelRules } from "./channel-rule.ts";
import { attentionRules } from "./rules/attention.ts";
import { controlRules } from "./rules/control.ts";
import { elementwiseRules } from "./rules/elementwise.ts";
import { indexedRules } from "./rules/indexed.ts";
import { layerRules } from "./rules/layers.ts";
import { partRules } from "./rules/parts.ts";
import { recurrentRules } from "./rules/recurrent.ts";
import { shapeRules } from "./rules/shape.ts";
import { windowRules } from "./rules/window.ts";

/** By operator, with its domain where that is not the standard one. */
export const channelRules: ChannelRules = {
  ...elementwiseRules,
  ...layerRules,
  ...windowRules,
  ...shapeRules,
  ...partRules,
  ...indexedRules,
  ...recurrentRules,
  ...attentionRules,
  ...controlRules,
};

/** The rule of a node; an operator without one keeps every axis it touches. */
export function channelRule(node: Node): ChannelRule | undefined {
  return channelRules[node.domain ? `${node.domain}.${node.opType}` : node.opType];
}
