/** @file Channel rules: recurrent layers, whose hidden units go from all gates and directions at once. */
import { attr } from "../../../ir/attribute.ts";
import type { ChannelRule, ChannelRules } from "../channel-rule.ts";
import { mapped, present, same } from "../port.ts";
import { ofWeight } from "./layers.ts";

/**
 * x [t, n, i], w [d, gates · h, i], r [d, gates · h, h], b [d, 2 · gates · h], initial h and c [d, n, h], p [d, 3 · h];
 * y [t, d, n, h], y_h and y_c [d, n, h]. With layout 1 the batch comes first.
 */
const recurrent: ChannelRule = {
  link(context) {
    const { node } = context;
    const hidden = node.int("hidden_size");
    const [w, r, rows] = [context.in(1, 1), context.in(2, 1), context.in(2, 2)];
    if (hidden === undefined || !w || !r || rows?.size !== hidden) return undefined;
    // A clipped or differently activated unit is still a unit; activations are one per direction and gate.
    const unit = (index: number) => index % hidden;
    const states = [5, 6].map((index) => context.in(index, -1));
    const outputs = node.outputs.map((output) => context.port(output, -1));
    const batch = node.int("layout", 0) === 0 ? 1 : 0;
    return {
      links: [
        ...same(rows, ...states, ...outputs),
        ...mapped(w, rows, unit),
        ...mapped(r, rows, unit),
        ...mapped(context.in(3, 1), rows, unit),
        ...mapped(context.in(7, 1), rows, unit),
        ...same(context.in(0, 2), context.in(1, 2)),
        ...same(context.in(0, 1 - batch), context.out(0, batch === 1 ? 0 : 1)),
      ],
      made: ofWeight(w),
      summed: present(rows, context.in(1, 2)),
    };
  },
  fix(cut) {
    const hidden = cut.after(cut.node.inputs[2])[2];
    cut.node.attributes.set("hidden_size", attr.int(Number(hidden)));
  },
};

export const recurrentRules: ChannelRules = { LSTM: recurrent, GRU: recurrent, RNN: recurrent };
