/**
 * @file Options that have an effect only together with others: a row for each, by step. One that is given where it has none is refused,
 * on the command line, in recipes and in the library, in dry runs too. Options without a row always have one, on some model.
 */
import { structureOf } from "../prune/options.ts";
import { isInteger, type WeightDType } from "../quantize/grid/spec.ts";
import { TersorError } from "../util/errors.ts";
import type { OptionNaming } from "../util/options.ts";

/** The parsed options of a step. */
type Options = Readonly<Record<string, unknown>>;

/** What else decides. */
export interface Around {
  /** Whether the recipe names data for all steps. */
  readonly hasData: boolean;
}

interface Row {
  readonly options: readonly string[];
  /** Whether they have an effect. */
  readonly when: (options: Options, around: Around) => boolean;
  /** What they go with, behind "it goes with". */
  readonly with: string;
}

const row = (options: string, when: Row["when"], what: string): Row => ({
  options: options.split(" "),
  when,
  with: what,
});

const isOne =
  (option: string, ...values: readonly unknown[]) =>
  (options: Options) =>
    values.includes(options[option]);
const isGiven = (option: string) => (options: Options) => options[option] !== undefined;
const not =
  (when: Row["when"]): Row["when"] =>
  (options, around) =>
    !when(options, around);
const any =
  (...rows: readonly Row["when"][]): Row["when"] =>
  (options, around) =>
    rows.some((when) => when(options, around));
const all =
  (...rows: readonly Row["when"][]): Row["when"] =>
  (options, around) =>
    rows.every((when) => when(options, around));

type LayerOptions = readonly { readonly options: Readonly<Record<string, unknown>> }[] | undefined;

/** What is asked for all layers and for single ones. */
const asked = (option: string, options: Options): readonly unknown[] => [
  options[option],
  ...((options.layers as LayerOptions) ?? []).flatMap((rule) => rule.options[option] ?? []),
];

const hasIntegers = (options: Options) => asked("dtype", options).some((dtype) => isInteger(dtype as WeightDType));
const isCodebook = isOne("format", "codebook");
const isLearned = isOne("method", "adaround", "brecq");
const isStochastic = (options: Options) => asked("rounding", options).includes("stochastic");
const packs = (options: Options) =>
  !isOne("format", "dequantize", "codebook")(options) &&
  (asked("format", options).includes("matmul-nbits") ||
    asked("dtype", options).some((each) => /[42]$/.test(String(each))));
const calibrates = isGiven("calibrate");

const learning = row("iterations", isLearned, "the methods adaround and brecq");
const samplesToo = row("calibrationSamples", calibrates, "calibrate");

const structure =
  (...kinds: readonly string[]) =>
  (options: Options) =>
    kinds.includes(structureOf(String(options.structure)).kind);
const isChannels = structure("channels", "heads");
const isCut = structure("channels", "heads", "blocks");
const isZeros = structure("weights", "n:m", "block");
const isVocabulary = structure("vocabulary");
/** Criteria and rankings are tried by themselves where nothing is asked for. */
const triesAll = (option: string) => all(isChannels, calibrates, not(isGiven(option)));
const looksAtData = isOne(
  "criterion",
  ...["wanda", "taylor", "fisher", "obd", "activation-norm", "sparsegpt", "influence", "sqnr"],
);
const runs = any(isOne("prove", true), isOne("by", "latency"));
const validates = not(isOne("validation", 0));

const training: readonly Row[] = [
  row("metric patience", validates, "validation"),
  row("cache", isGiven("teacher"), "a teacher"),
  row("resume", isGiven("checkpoint"), "checkpoint"),
];

/** By the name of the step, with its mode where there are several. */
export const effects: Readonly<Record<string, readonly Row[]>> = {
  simplify: [row("tolerance", isOne("level", "all"), "level all")],
  quantize: [
    row("symmetric granularity scale rounding method format", hasIntegers, "integer dtypes"),
    row("symmetric granularity scale", not(isCodebook), "codes on a grid, not with a codebook"),
    row(
      "methodOptions",
      (options) => asked("method", options).some((name) => ["gptq", "awq", "hqq"].includes(String(name))),
      "the methods gptq, awq and hqq",
    ),
    row("accuracyLevel", packs, "MatMulNBits: weights of 4 or 2 bits, or format matmul-nbits"),
    row("seed", isStochastic, "rounding stochastic"),
    row("samples shapes runtime optimization", (options) => Number(options.seeds) > 1, "seeds above 1"),
    learning,
    samplesToo,
  ],
  "quantize static": [
    row("methodOptions", isOne("method", "gptq"), "the method gptq"),
    row("percentile", isOne("ranges", "percentile"), "ranges percentile"),
    row(
      "calibrationSamples",
      any(calibrates, (_, { hasData }) => hasData),
      "calibrate",
    ),
    learning,
  ],
  "quantize dynamic": [samplesToo, row("minActivationSqnr", calibrates, "calibrate")],
  "quantize float16": [samplesToo],
  equalize: [
    row("alpha", (options) => names(options).includes("smoothquant"), "smoothquant"),
    row("dtype granularity", (options) => names(options).includes("awq"), "awq"),
    row(
      "insertMul calibrate calibrationSamples",
      (options) => names(options).some((name) => name !== "cross-layer"),
      "smoothquant and awq",
    ),
  ],
  prune: [
    row("layers threshold", isZeros, "structures that zero weights: weights, N:M, block:HxW"),
    row("ratio", not(structure("n:m")), "a structure without a share of its own: N:M has one"),
    row("by", isCut, "channels, heads and blocks"),
    row("criterion", not(isVocabulary), "anything but vocabulary"),
    row(
      "gradients",
      any(isOne("criterion", "taylor", "fisher", "obd"), triesAll("criterion")),
      "the criteria taylor, fisher and obd",
    ),
    row("ranking", any(isChannels, structure("weights", "block")), "channels, heads and weights"),
    row(
      "sensitivityRatios",
      any(isOne("sensitivity", true), isOne("ranking", "sensitivity"), triesAll("ranking")),
      "sensitivity",
    ),
    row("reduce minChannels roundTo cutInterface target", isChannels, "channels and heads"),
    row(
      "normalize",
      all(
        any(isChannels, structure("weights", "block")),
        any(isOne("ranking", "global"), triesAll("ranking"), all(isZeros, not(isGiven("ranking")))),
      ),
      "ranking global",
    ),
    row("protect", not(isVocabulary), "anything but vocabulary"),
    row("recover", isCut, "channels, heads and blocks"),
    row(
      "damp",
      any(isOne("recover", "least-squares"), all(isChannels, calibrates, not(isGiven("recover")))),
      "recover least-squares",
    ),
    row("seed", isOne("criterion", "random"), "criterion random"),
    row(
      "calibrate",
      any(isCut, all(isZeros, looksAtData)),
      "what looks at samples: channels, heads, blocks, or criteria such as wanda",
    ),
    samplesToo,
    row("steps", isOne("schedule", "iterative", "cubic"), "schedule iterative or cubic"),
    row("latencyTable", isOne("by", "latency"), "by latency"),
    row("corpus tokenizer vocabularyFiles", isVocabulary, "structure vocabulary"),
    row("data samples optimization", runs, "prove, and by latency"),
    row("runtime", any(runs, isChannels), "channels, prove, and by latency"),
    row("shapes", any(isCut, runs), "channels, heads and blocks, and prove"),
  ],
  shrink: [
    row(
      "calibrate",
      all((options) => Number(options.depth) > 0, isOne("weights", "inherited")),
      "depth and inherited weights",
    ),
    samplesToo,
    row("roundTo", (options) => Number(options.width) > 0, "width"),
    row("seed", isOne("weights", "fresh"), "fresh weights"),
  ],
  finetune: training,
  distill: [row("temperature", isOne("soft", "kl"), "soft kl"), ...training],
  compare: [
    row(
      "metric",
      any(isGiven("data"), (_, { hasData }) => hasData),
      "data with labels",
    ),
    row(
      "shapes",
      not(any(isGiven("data"), (_, { hasData }) => hasData)),
      "made-up inputs: samples have shapes of their own",
    ),
    row("target calibrate", isOne("perLayer", true), "perLayer"),
  ],
};

function names({ equalize }: Options): readonly unknown[] {
  return Array.isArray(equalize) ? equalize : [];
}

export interface GivenStep {
  /** As in {@link effects}. */
  readonly title: string;
  /** Names of the options that were given. */
  readonly given: readonly string[];
  readonly options: Options;
}

/** Options that are given and have no effect, with what they go with. */
export function idleOptions({ title, given, options }: GivenStep, around: Around): Map<string, string> {
  const idle = new Map<string, string>();
  for (const { options: own, when, with: what } of effects[title] ?? [])
    for (const option of own)
      if (given.includes(option) && !idle.has(option) && !when(options, around)) idle.set(option, what);
  return idle;
}

/** @throws bad-recipe naming every option that is given and has no effect; `subject` opens the message */
export function refuseIdle(step: GivenStep, around: Around, subject: string, naming: OptionNaming): void {
  const idle = idleOptions(step, around);
  if (idle.size === 0) return;
  const texts = [...idle].map(([option, what]) => `${naming([option])} has no effect here: it goes with ${what}`);
  throw new TersorError("bad-recipe", `${subject}: ${texts.join("; ")}. Leave it out.`);
}
