/** @file Causes that lie in the codes of weights and biases. */

import { largestOf } from "../../../util/append.ts";
import { type CauseRow, type Finding, some } from "../cause.ts";
import { digits } from "../digits.ts";
import type { LayerEvidence } from "../evidence.ts";
import { codedWeight } from "../weights.ts";
import { at, sharesOf, sum } from "./shares.ts";

/** Mean over output channels of noise over signal, at most 1 each. `noise` gives that of a channel. */
function channelNoise(energy: Float64Array, noise: (channel: number) => number): number {
  const alive = [...energy.keys()].filter((o) => at(energy, o) > 0);
  return (
    sum(alive.length, (i) => Math.min(1, noise(alive[i] as number) / at(energy, alive[i] as number))) /
    (alive.length || 1)
  );
}

/** With a scale per channel the noise would be this many times less. */
const GAIN = 4;
/** Largest weight of a channel by its root mean square: above, one weight decides the steps of all. */
const CREST = 24;

function outliers({ value, weight, stats }: LayerEvidence): Finding[] {
  if (!weight || !stats) return [];
  const { energy, noise, largest } = stats;
  const each = weight.codes.size / energy.length;
  const now = channelNoise(energy, (o) => at(noise, o));
  if (weight.scales.size === 1 && energy.length > 1) {
    const levels = 2 ** (weight.bits - 1) - 1;
    const perChannel = channelNoise(energy, (o) => ((at(largest, o) / levels) ** 2 / 12) * each);
    if (now < GAIN * perChannel) return [];
    const sorted = [...largest].sort((a, b) => a - b);
    const ratio = at(sorted, sorted.length - 1) / (at(sorted, sorted.length >> 1) || Number.MIN_VALUE);
    const what = `"${weight.name}" has one scale, and its largest weight is ${digits(ratio)} times that of the median channel`;
    return [{ value: weight.name, layer: value, noise: now - perChannel, what }];
  }
  const crests = [...energy.keys()].map((o) => at(largest, o) / Math.sqrt(at(energy, o) / each || 1));
  const channels = [...energy.keys()].filter((o) => at(crests, o) > CREST);
  if (channels.length === 0) return [];
  const what = `in ${channels.length} channels of "${weight.name}" (${some(channels)}) single weights are up to ${digits(largestOf(crests))} times the root mean square`;
  return [{ value: weight.name, layer: value, noise: now, what }];
}

export const weightOutlier: CauseRow = {
  kind: "weight-outlier",
  title: "outlier weights",
  advice: "Use --granularity channel or group:32, or --scale mse.",
  explains: ["weight-bits"],
  test: ({ layers }) => layers.flatMap(outliers),
};

export const weightBits: CauseRow = {
  kind: "weight-bits",
  title: "too few bits for the weights",
  advice:
    'Give this layer more bits (--layers "*,NAME@int8"), smaller groups, or a method that looks at data (--method gptq).',
  test: ({ layers }) =>
    layers.flatMap((layer) => {
      const { value, weight, bits, fidelity, node } = layer;
      const shares = sharesOf(layer);
      const own = fidelity && Number.isFinite(fidelity.own) ? 10 ** (-fidelity.own / 10) : undefined;
      const estimate = shares ? shares.weight - shares.outliers.weight : layer.coded ? undefined : own;
      if (bits >= 16 || estimate === undefined) return [];
      // A method that looks at data moves weights further and outputs less: what was measured of the layer is the limit.
      const noise = Math.min(estimate, own ?? estimate);
      const name = weight?.name ?? node.inputs[1]?.name ?? value;
      return [
        {
          value: name,
          layer: value,
          noise,
          what: `"${name}" has ${bits} bits, and the layer's output feels their rounding`,
        },
      ];
    }),
};

export const deadChannel: CauseRow = {
  kind: "dead-channel",
  title: "dead channels",
  advice:
    "Give the layer a scale per channel and check it for scales of 0; channels that were dead before can be pruned.",
  explains: ["weight-bits", "weight-outlier"],
  test: ({ layers }) =>
    layers.flatMap(({ value, weight, stats, output, original }) => {
      if (!weight || !stats || stats.zero.length === 0) return [];
      const steps = weight.scales.toFloat32();
      // What is smaller than half a step of the tensor's one scale was rounded away: too few bits, or an outlier elsewhere.
      const step = (o: number) => (steps.length === stats.energy.length ? at(steps, o) : largestOf(steps));
      const isAlive = (o: number) => (original ? at(stats.largest, o) > step(o) / 2 : at(output, o) > 0);
      const wasAlive = (o: number) => isAlive(o) && (original !== undefined || steps.length > 1);
      const killed = stats.zero.filter(wasAlive);
      const channels = killed.length > 0 ? killed : stats.zero;
      const names = `${channels.length === 1 ? "output channel" : `${channels.length} output channels`} ${some(channels)} of "${weight.name}"`;
      if (killed.length === 0)
        return [
          {
            value: weight.name,
            layer: value,
            noise: 0,
            what: `${names}: nothing but zeros, in the original too`,
            severity: "note",
          },
        ];
      const share =
        sum(killed.length, (i) => at(output, killed[i] as number)) / (output.reduce((a, b) => a + b, 0) || 1);
      const what = `${names}: all weights became 0`;
      return [{ value: weight.name, layer: value, noise: Math.max(share, killed.length / stats.energy.length), what }];
    }),
};

const LIMIT = 2 ** 31 - 1;

export const biasOverflow: CauseRow = {
  kind: "bias-overflow",
  title: "bias beyond int32",
  advice: "Widen the scale of the channels' weights until the bias fits, or keep the layer float.",
  explains: ["dead-channel"],
  test: ({ layers, original }) =>
    layers.flatMap(({ value, node }) => {
      const bias = codedWeight(node.inputs[2]);
      if (bias?.bits !== 32) return [];
      const [codes, scales] = [bias.codes.toNumbers(), bias.scales.toFloat32()];
      const before = original.graph.find(value)?.producer?.inputs[2]?.tensor;
      const wanted = before?.dtype === "float32" && before.size === codes.length ? before.toFloat32() : undefined;
      const step = (i: number) => scales[scales.length === 1 ? 0 : i] as number;
      const fits = (i: number) =>
        Math.abs(codes[i] as number) < LIMIT && !(wanted && Math.abs((wanted[i] as number) / step(i)) > LIMIT);
      const channels = [...codes.keys()].filter((i) => !fits(i));
      if (channels.length === 0) return [];
      const lost = wanted ? sum(channels.length, (k) => lostOf(channels[k] as number)) : channels.length;
      const all = wanted ? wanted.reduce((a, b) => a + b * b, 0) : codes.length;
      function lostOf(i: number): number {
        return ((wanted?.[i] ?? 0) - (codes[i] as number) * step(i)) ** 2;
      }
      const what = `biases of channels ${some(channels)} in "${bias.name}" do not fit 32 bits at a step of ${digits(step(channels[0] as number))}`;
      return [{ value: bias.name, layer: value, noise: lost / (all || 1), what }];
    }),
};
