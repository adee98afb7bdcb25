/** @file Causes that lie in the codes of activations: one scale for what does not fit one, ranges that are not the data's. */
import type { Use } from "../../../ir/value.ts";
import { largestOf, leastOf } from "../../../util/append.ts";
import { type CauseRow, type Finding, LEAST, some, span } from "../cause.ts";
import { digits } from "../digits.ts";
import type { Evidence, LayerEvidence, SiteEvidence } from "../evidence.ts";
import { at, plainNoise, sharesOf, sum } from "./shares.ts";

/** What suffers from a site: the layers that read it with their shares, or the value itself. */
function readersOf({ layers }: Evidence, site: SiteEvidence): readonly LayerEvidence[] {
  return layers.filter(({ coded }) => coded && sameReaders(coded.readers, site.readers));
}

const sameReaders = (a: readonly Use[], b: readonly Use[]) =>
  a.length === b.length && a.every((use, i) => use === b[i]);

/** A finding for every layer that reads a site; for the value where none does. `share` picks from a layer's or gives the value's. */
function bySite(
  evidence: Evidence,
  site: SiteEvidence,
  part: "rounding" | "clipped",
  what: string,
): readonly Finding[] {
  const readers = readersOf(evidence, site);
  const own = site.seen;
  const clipped =
    sum(own.clipped.length, (c) => at(own.clipped, c)) / (sum(own.energy.length, (c) => at(own.energy, c)) || 1);
  const plain = part === "clipped" ? clipped : Math.max(0, plainNoise(own) - clipped);
  if (readers.length === 0) return [{ value: site.value, noise: plain, what }];
  return readers.map((layer) => ({
    value: site.value,
    layer: layer.value,
    noise: sharesOf(layer)?.[part] ?? plain,
    what,
  }));
}

/** The codes' range as a multiple of what the data uses of it. */
function slack({ codes, min, max }: SiteEvidence): number {
  return codes === "dynamic" ? 1 : (codes.high - codes.low) / Math.max(max - min, Number.MIN_VALUE);
}

/** A range this many times too wide loses three bits. */
export const SLACK = 8;

/**
 * Values whose codes are what tools write where there was nothing to see: step 1 from the lowest code on. Bytes have that
 * step too: where ranges are too wide all over the model, it was large values that calibration saw.
 */
function guesses({ sites }: Evidence): ReadonlySet<SiteEvidence> {
  const looksEmpty = ({ codes }: SiteEvidence) =>
    codes !== "dynamic" && (codes.scale < 2 ** -59 || (codes.scale === 1 && codes.zeroPoint === codes.qmin));
  const others = sites.filter((site) => !looksEmpty(site) && site.codes !== "dynamic");
  const wide = others.filter((site) => slack(site) >= SLACK).length;
  return new Set(wide > others.length / 2 ? [] : sites.filter(looksEmpty));
}

/** The sites with a range that calibration saw. */
function measured(evidence: Evidence): SiteEvidence[] {
  const empty = guesses(evidence);
  return evidence.sites.filter((site) => !empty.has(site));
}

/** The same, none where the data can't tell whether a range is right. */
function fitting(evidence: Evidence): SiteEvidence[] {
  return evidence.synthetic ? [] : measured(evidence);
}

const text = (site: SiteEvidence) =>
  site.codes === "dynamic"
    ? ""
    : `codes from ${span(site.codes.low, site.codes.high)}, data from ${span(site.min, site.max)}`;

export const noData: CauseRow = {
  kind: "no-data",
  title: "no calibration data",
  advice: "Calibrate on samples that are not empty or constant.",
  explains: ["clipped", "unused-range", "coarse-grid", "preprocessing"],
  test: (evidence) =>
    [...guesses(evidence)].flatMap((site) =>
      bySite(
        evidence,
        site,
        "rounding",
        `"${site.value}" was constant in calibration, its scale is a guess: ${text(site)}`,
      ),
    ),
};

export const channelOutlier: CauseRow = {
  kind: "channel-outlier",
  title: "outlier channels",
  advice:
    'Equalize the layers around it (--equalize cross-layer), keep this layer float (--layers "*,NAME@keep"), or quantize weights alone.',
  explains: ["coarse-grid", "weight-bits"],
  test: ({ layers }) =>
    layers.flatMap((layer) => {
      const outliers = sharesOf(layer)?.outliers;
      if (!layer.coded || !outliers || outliers.channels.length === 0) return [];
      const { channels, ratio } = outliers;
      const count = channels.length === 1 ? "1 channel" : `${channels.length} channels`;
      const what = `${count} of "${layer.coded.value}" (${some(channels)}) reach up to ${digits(ratio)} times as far as the median channel, and one scale serves all`;
      return [{ value: layer.coded.value, layer: layer.value, noise: outliers.rounding + outliers.weight, what }];
    }),
};

/** Ranges of the parts of a Concat this far apart should not share a scale. */
const MIXED = 16;

export const mixedConcat: CauseRow = {
  kind: "mixed-concat",
  title: "parts of unlike range in one tensor",
  advice:
    "Keep the Concat and what follows it float, or give the parts as outputs of their own: boxes and scores of a detection head don't share a scale.",
  explains: ["coarse-grid", "unused-range"],
  test: (evidence) =>
    evidence.sites.flatMap((site) => {
      if (readersOf(evidence, site).length > 0) return [];
      const parts = partsOf(site);
      const largest = largestOf(parts.map((part) => part.largest));
      const alive = parts.filter((part) => part.largest > 0);
      const least = leastOf(alive.map((part) => part.largest));
      if (alive.length < 2 || largest < MIXED * least) return [];
      const noise = largestOf(alive.map((part) => part.noise));
      const what = `the Concat "${site.value}" joins parts of which one reaches ${digits(largest)} and another ${digits(least)}, with one scale`;
      return [{ value: site.value, noise, what }];
    }),
};

/** Range, and noise over signal, of what a Concat joined. */
function partsOf({ parts, seen }: SiteEvidence): { largest: number; noise: number }[] {
  const total = seen.energy.length;
  const known = (parts ?? []).reduce<number>((a, b) => a + (b ?? 0), 0);
  if (!parts || parts.filter((part) => part === null).length > 1) return [];
  let start = 0;
  return parts.map((part) => {
    const size = part ?? total - known;
    const from = start;
    start += size;
    const energy = sum(size, (i) => at(seen.energy, from + i));
    const noise = sum(size, (i) => at(seen.noise, from + i));
    return { largest: Math.max(0, ...seen.largest.slice(from, from + size)), noise: energy > 0 ? noise / energy : 0 };
  });
}

export const clipped: CauseRow = {
  kind: "clipped",
  title: "values beyond the calibrated range",
  advice: "Calibrate on more, and more typical, samples, or with --ranges min-max.",
  test: (evidence) =>
    fitting(evidence).flatMap((site) =>
      bySite(evidence, site, "clipped", `"${site.value}" leaves the range that calibration found: ${text(site)}`),
    ),
};

export const unusedRange: CauseRow = {
  kind: "unused-range",
  title: "calibrated range far too wide",
  advice: "Calibrate on samples like those the model will see; --ranges percentile leaves rare extremes out.",
  explains: ["coarse-grid"],
  test: (evidence) =>
    fitting(evidence)
      .filter((site) => slack(site) >= SLACK)
      .flatMap((site) =>
        bySite(
          evidence,
          site,
          "rounding",
          `"${site.value}" uses ${digits(100 / slack(site))} % of its codes: ${text(site)}`,
        ),
      ),
};

export const coarseGrid: CauseRow = {
  kind: "coarse-grid",
  title: "steps too coarse for the values",
  advice: "Keep what reads it float, or let its activations have 16 bits: most values are small beside the largest.",
  test: (evidence) =>
    measured(evidence)
      .filter((site) => slack(site) < SLACK)
      .flatMap((site) => {
        const outliers = new Map(
          readersOf(evidence, site).map((layer) => [layer.value, sharesOf(layer)?.outliers.rounding ?? 0]),
        );
        const producer = evidence.original.graph.find(site.value)?.producer;
        const from = producer?.opType === "Softmax" ? ", probabilities from a Softmax," : "";
        const what = `"${site.value}"${from} has values that are small beside one step of its codes${text(site) ? `: ${text(site)}` : ""}`;
        return bySite(evidence, site, "rounding", what).map((found) => ({
          ...found,
          noise: Math.max(0, found.noise - (outliers.get(found.layer ?? "") ?? 0)),
        }));
      }),
};

/** Operators that turn a step of their input into a factor of their output. */
const exponential = new Set(["Exp", "Pow", "Softplus"]);

export const expTail: CauseRow = {
  kind: "exp-tail",
  title: "codes read by an exponential",
  advice: 'Keep the tail of the model float: stop quantizing before the last layer (--layers "*,NAME@keep").',
  explains: ["coarse-grid"],
  test: ({ sites }) =>
    sites.flatMap(({ value, readers, codes }) => {
      const reader = readers.find(({ node }) => exponential.has(node.opType));
      if (!reader || codes === "dynamic") return [];
      const percent = digits((Math.exp(codes.scale / 2) - 1) * 100);
      const what = `${reader.node} reads codes of "${value}" with a step of ${digits(codes.scale)}: its results are up to ${percent} % off`;
      return [{ value, layer: reader.node.output().name, noise: codes.scale ** 2 / 12, what }];
    }),
};

export const unclipped: CauseRow = {
  kind: "unclipped",
  title: "zero point that does not clip",
  advice:
    "Use asymmetric activations whose range ends where the Relu or Clip does (zero point 0 of uint8, −128 of int8), or put the operator back.",
  explains: ["clipped", "channel-outlier"],
  test: ({ clamps }) =>
    clamps.map(({ input, output, codes, bounds, noise, kept }) => {
      const range = `codes of "${kept ? output : input}" go from ${span(codes.low, codes.high)} where ${span(bounds.min, bounds.max)} was cut`;
      if (kept)
        return { value: output, noise: 0, what: `${range}: the layer before it runs in float`, severity: "note" };
      return {
        value: output,
        noise,
        what: `the clamp before "${output}" is gone and its codes don't do its work: ${range}`,
      };
    }),
};

export const saturation: CauseRow = {
  kind: "saturation",
  title: "sums saturate on the target",
  advice: "Quantize for this target (--target), which chooses weights whose pairs fit, or with uint8 weights.",
  test: ({ layers, target }) =>
    layers
      .filter(({ saturation: noise }) => noise > LEAST)
      .map(({ value, weight, saturation: noise }) => ({
        value: weight?.name ?? value,
        layer: value,
        noise,
        what: `int8 weights "${weight?.name}" use all 8 bits, and ${target.name} keeps sums of two products in 16: they overflow on this data`,
      })),
};
