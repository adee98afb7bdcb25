/** @file Shape rules: recurrent layers. */
import type { Dim, Shape } from "../../ir/types.ts";
import type { Call, ShapeRule, ShapeRules } from "./call.ts";

/**
 * X [t, n, in], R [directions, gates·h, h] → Y [t, directions, n, h], final states [directions, n, h]. With layout 1 the
 * batch comes first: X [n, t, in], Y [n, t, directions, h], states [n, directions, h].
 */
function recurrent(call: Call, states: number): ReturnType<ShapeRule> {
  const x = call.ranked(0, 3);
  const r = call.shape(2);
  const batchFirst = call.flag("layout");
  const directions = call.node.string("direction", "forward") === "bidirectional" ? 2 : 1;
  const [t, n]: readonly (Dim | undefined)[] = batchFirst ? [x?.[1], x?.[0]] : [x?.[0], x?.[1]];
  const hidden: Dim = call.node.int("hidden_size") ?? r?.at(-1) ?? null;
  const [time, batch] = [t ?? null, n ?? null];
  const y: Shape = batchFirst ? [batch, time, directions, hidden] : [time, directions, batch, hidden];
  const state: Shape = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  const dtype = call.dtype(0);
  return [call.out(y, dtype), ...Array.from({ length: states }, () => call.out(state, dtype))];
}

export const recurrents: ShapeRules = {
  RNN: (call) => recurrent(call, 1),
  GRU: (call) => recurrent(call, 1),
  LSTM: (call) => recurrent(call, 2),
};

/** W and R are stored transposed here: [directions, h, 4·h]. */
const dynamicLstm: ShapeRule = (call) => {
  const hidden = call.node.int("hidden_size") ?? call.shape(2)?.[1] ?? null;
  const directions = call.node.string("direction", "forward") === "bidirectional" ? 2 : 1;
  const [t = null, n = null] = call.ranked(0, 3) ?? [];
  const state: Shape = [directions, n, hidden];
  return [[t, directions, n, hidden], state, state].map((shape) => call.out(shape, call.dtype(0)));
};

export const contribRecurrents: ShapeRules = {
  DynamicQuantizeLSTM: dynamicLstm,
  AttnLSTM: (call) => recurrent(call, 2),
};
