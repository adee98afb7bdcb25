/** @file Unstructured and patterned pruning: single weights, N of M and blocks become exactly zero. */
import type { Model } from "../../ir/model.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { ComputedSource } from "../../util/bytes.ts";
import { TersorError } from "../../util/errors.ts";
import { pickByName } from "../../util/name-pattern.ts";
import { parseOptions } from "../../util/options.ts";
import { normalizeScores } from "../criteria/normalize.ts";
import type { ChannelData } from "../evidence/channel-data.ts";
import { withGramOpset } from "../graph/prepare.ts";
import {
  type ChosenPruneSettings,
  type PruneOptions,
  type PruneSettings,
  pruneOptions,
  type Structure,
  structureOf,
} from "../options.ts";
import { patternOf, shareOf } from "./choose-columns.ts";
import { gatherEvidence, noEvidence } from "./evidence.ts";
import {
  type Evidence,
  type WeightCriterion,
  type WeightCriterionName,
  weightCriteria,
  weightCriterion,
} from "./saliency.ts";
import { inStoredOrder, matrixOf, type WeightSite, weightSites } from "./sites.ts";
import { BLOCK, sparseGpt } from "./sparsegpt.ts";
import { below, type Line, lineBelow, patternGone, unitScores, unitsOf } from "./units.ts";

export interface WeightReport {
  readonly index: number;
  readonly name: string;
  readonly opType: string;
  readonly weight: string;
  readonly dims: readonly number[];
  readonly weights: number;
  /** Weights that are zero afterwards, those included that were. */
  readonly zeros: number;
  /** Why it was left alone. */
  readonly reason?: string;
}

export interface WeightResult {
  readonly model: Model;
  /** Computed when asked for, unless the model was written by then. */
  layers(): readonly WeightReport[];
  /** Names of weights with nothing but zeros: training must be told to leave them alone. Computes them. */
  emptied(): readonly string[];
  readonly notes: readonly string[];
}

/** One weight with what is to be done to it. */
interface Job {
  readonly site: WeightSite;
  readonly ratio: number;
  readonly evidence: Evidence;
}

/** Zeros of a matrix, in place of it. */
type Zeroing = (matrix: Float32Array) => void;

/**
 * Puts zeros into the weights of a model. They are computed when the model is written, one weight at a time.
 * @param part of the ratios that is taken, in a step of a schedule
 * @throws bad-recipe for criteria of channels, a missing ratio, layers that do not exist, and criteria without their data
 */
export async function pruneWeights(
  model: Model,
  asked: PruneOptions | PruneSettings,
  calibration?: ChannelData,
  part = 1,
): Promise<WeightResult> {
  const given = parseOptions(pruneOptions, asked, "prune");
  const options: ChosenPruneSettings = { ...given, criterion: given.criterion ?? "l1" };
  const structure = structureOf(options.structure);
  const criterion = checkOptions(options, structure, calibration);
  const source = criterion.needs === "second moments" ? withGramOpset(model) : model;
  const copy = exposeWeights(source).model.clone();
  const { analysis, sites } = weightSites(copy);
  const wishes = askedOf(sites, options);
  const reasons = new Map<WeightSite, string>();
  const wanted: { site: WeightSite; ratio: number }[] = [];
  for (const site of sites) {
    const { ratio, reason } = wishes.get(site) ?? {};
    const cause = reason ?? unfit(site, structure, options.criterion, criterion);
    if (cause) reasons.set(site, cause);
    else wanted.push({ site, ratio: part * (ratio ?? options.ratio ?? 0) });
  }
  const { of: evidenceOf, note } = calibration
    ? await gatherEvidence(
        analysis,
        wanted.map(({ site }) => site),
        { criterion, options, calibration },
      )
    : noEvidence;
  const jobs = wanted.flatMap(({ site, ratio }): Job[] => {
    const evidence = evidenceOf(site);
    if (criterion.needs === "nothing" || evidence.gram || evidence.gradients) return [{ site, ratio, evidence }];
    reasons.set(site, `criterion "${options.criterion}" finds nothing to look at`);
    return [];
  });
  const zeroing = plan(jobs, options, structure);
  const zeros = new Map<WeightSite, number>();
  for (const { site } of jobs) site.value.tensor = zeroed(site, zeroing.get(site), zeros);
  const isWhole = jobs.every(({ ratio }) => ratio === 0) && structure.kind !== "n:m" && options.threshold === undefined;
  return {
    model: isWhole ? model : copy,
    emptied: () => sites.flatMap(({ value }) => (isZero(value.tensor) ? [value.name] : [])),
    layers: () => sites.map((site) => reportOf(site, zeros, reasons.get(site))),
    notes: note === undefined ? [] : [note],
  };
}

function checkOptions(
  options: ChosenPruneSettings,
  structure: Structure,
  calibration: ChannelData | undefined,
): WeightCriterion {
  const { criterion, ratio, threshold, recover } = options;
  const fail = (message: string) => new TersorError("bad-recipe", `prune: ${message}`);
  const row = weightCriterion(criterion);
  if (!row)
    throw fail(
      `criterion "${criterion}" is for channels: expected one of ${Object.keys(weightCriteria).join(", ")} for weights.`,
    );
  if (recover !== undefined && recover !== "none")
    throw fail(`recover "${recover}" is for channels. Leave it out, or take criterion sparsegpt.`);
  if (row.needs !== "nothing" && !calibration)
    throw fail(
      `criterion "${criterion}" needs calibration data: expected samples, got none. Name some with calibrate.`,
    );
  if (structure.kind === "n:m" && (ratio !== undefined || threshold !== undefined))
    throw fail(
      `structure "${options.structure}" has a ratio of its own: expected no ratio and no threshold. Leave them out.`,
    );
  if (ratio !== undefined && threshold !== undefined)
    throw fail("ratio and threshold say the same twice. Give one of them.");
  if (threshold !== undefined && (structure.kind !== "weights" || criterion === "random" || row.needs !== "nothing"))
    throw fail(
      `threshold is for single weights by magnitude. Give a ratio for "${options.structure}" by "${criterion}".`,
    );
  return row;
}

/** A ratio of its own, or why a layer is left alone. @throws bad-recipe */
function askedOf(sites: readonly WeightSite[], { layers, protect }: ChosenPruneSettings) {
  const asked = new Map<WeightSite, { readonly ratio?: number; readonly reason?: string }>();
  const parts = (text: string | undefined) =>
    (text ?? "").split(",").flatMap((part) => (part.trim() ? [part.trim()] : []));
  const rules = parts(layers);
  if (rules.length > 0) for (const site of sites) asked.set(site, { reason: "not among the layers asked for" });
  for (const rule of rules) {
    const at = rule.lastIndexOf("@");
    const [pattern, word] = at < 0 ? [rule, undefined] : [rule.slice(0, at), rule.slice(at + 1)];
    const ratio = word === undefined || word === "keep" ? undefined : Number(word);
    if (ratio !== undefined && !(ratio >= 0 && ratio <= 1))
      throw new TersorError(
        "bad-recipe",
        `layers "${rule}": expected keep or a ratio from 0 to 1 behind the @, got "${word}".`,
      );
    for (const site of pickByName(pattern, sites, "layer"))
      asked.set(site, word === "keep" ? { reason: "kept as asked" } : ratio === undefined ? {} : { ratio });
  }
  for (const pattern of parts(protect))
    for (const site of pickByName(pattern, sites, "layer")) asked.set(site, { reason: "protected" });
  return asked;
}

/** Why a structure or criterion can't be had for a weight. */
function unfit(site: WeightSite, structure: Structure, name: string, { needs }: WeightCriterion): string | undefined {
  const inputs = site.columns / site.inner;
  if (structure.kind === "n:m" && inputs < structure.m) return `${inputs} inputs are fewer than ${structure.m}`;
  if (needs === "second moments" && !site.reader)
    return `criterion "${name}" is for Conv without groups, Gemm and MatMul with a weight of its own`;
  return undefined;
}

/** Decides what goes, for every weight. */
function plan(jobs: readonly Job[], options: ChosenPruneSettings, structure: Structure): Map<WeightSite, Zeroing> {
  const { criterion, threshold } = options;
  const scoresOf = (job: Job, matrix = matrixOf(job.site)): Float32Array => {
    const { rows, columns } = job.site;
    const units = unitsOf(rows, columns, structure.kind === "block" ? structure : undefined);
    const scores = unitScores(saliencyOf(job, matrix, options), rows, columns, units);
    return isGlobal ? normalizeScores(scores, options.normalize ?? "none") : scores;
  };
  const isGlobal =
    (options.ranking ?? "global") === "global" &&
    structure.kind !== "n:m" &&
    threshold === undefined &&
    weightCriterion(criterion)?.isGlobal === true;
  const lines = isGlobal ? globalLines(jobs, scoresOf) : new Map<WeightSite, Line>();
  return new Map(
    jobs.map((job): [WeightSite, Zeroing] => {
      const { site, ratio, evidence } = job;
      const { gram } = evidence;
      const { rows, columns } = site;
      if (criterion === "sparsegpt" && gram) {
        // A pattern must not run across two choices.
        const step = structure.kind === "n:m" ? structure.m * site.inner : 1;
        const width = Math.ceil(BLOCK / step) * step;
        const choose = structure.kind === "n:m" ? patternOf(rows, site.inner, structure) : shareOf(ratio);
        const subject = `prune: sparsegpt: weight "${site.value.name}"`;
        return [
          site,
          (matrix) => sparseGpt(matrix, { rows, columns, gram, damp: options.damp, choose, width, subject }),
        ];
      }
      if (structure.kind === "n:m")
        return [site, (matrix) => clear(matrix, patternGone(saliencyOf(job, matrix, options), site, structure))];
      const units = unitsOf(rows, columns, structure.kind === "block" ? structure : undefined);
      return [
        site,
        (matrix) => {
          const scores = scoresOf(job, matrix);
          const line = lines.get(site);
          let gone: Uint8Array;
          if (threshold !== undefined) gone = below(scores, { limit: threshold, ties: 0 }).gone;
          else if (line) gone = below(scores, line).gone;
          else if (criterion === "wanda" && structure.kind === "weights")
            gone = rowsBelow(scores, rows, columns, ratio);
          else
            gone = below(
              scores,
              lineBelow(() => [scores], Math.round(ratio * scores.length), scores.length),
            ).gone;
          if (units.count === matrix.length) clear(matrix, gone);
          else
            for (let row = 0; row < rows; row++)
              for (let column = 0; column < columns; column++)
                if (gone[units.unitOf(row, column)]) matrix[row * columns + column] = 0;
        },
      ];
    }),
  );
}

/** A line for all weights of one ratio together; ties go in graph order. */
function globalLines(jobs: readonly Job[], scoresOf: (job: Job) => Float32Array): Map<WeightSite, Line> {
  const lines = new Map<WeightSite, Line>();
  for (const ratio of new Set(jobs.map((job) => job.ratio))) {
    const own = jobs.filter((job) => job.ratio === ratio);
    let total = 0;
    for (const job of own) total += scoresOf(job).length;
    const line = lineBelow(() => generate(own, scoresOf), Math.round(ratio * total), total);
    let { ties } = line;
    for (const job of own) {
      lines.set(job.site, { limit: line.limit, ties });
      ties = below(scoresOf(job), { limit: line.limit, ties }).left;
    }
  }
  return lines;
}

function* generate(jobs: readonly Job[], scoresOf: (job: Job) => Float32Array): Iterable<Float32Array> {
  for (const job of jobs) yield scoresOf(job);
}

function saliencyOf(
  { site, evidence }: Job,
  matrix: Float32Array,
  { criterion, seed }: ChosenPruneSettings,
): Float32Array {
  return weightCriteria[criterion as WeightCriterionName].saliency(site, matrix, evidence, seed ?? 0);
}

/** The same share of every row, as wanda compares the weights of one output. */
function rowsBelow(scores: Float32Array, rows: number, columns: number, ratio: number): Uint8Array {
  const gone = new Uint8Array(scores.length);
  const count = Math.round(ratio * columns);
  for (let row = 0; row < rows; row++) {
    const own = scores.subarray(row * columns, (row + 1) * columns);
    gone.set(
      below(
        own,
        lineBelow(() => [own], count, columns),
      ).gone,
      row * columns,
    );
  }
  return gone;
}

function clear(matrix: Float32Array, gone: Uint8Array): void {
  for (let i = 0; i < matrix.length; i++) if (gone[i]) matrix[i] = 0;
}

/** The weight with its zeros; notes how many there are when it is computed. */
function zeroed(site: WeightSite, zeroing: Zeroing | undefined, zeros: Map<WeightSite, number>): Tensor {
  const { tensor } = site;
  if (!zeroing) return tensor;
  const source = new ComputedSource(tensor.byteLength, function* () {
    const matrix = matrixOf(site);
    zeroing(matrix);
    zeros.set(site, countZeros(matrix));
    const stored = inStoredOrder(site, matrix);
    yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  });
  return new Tensor(tensor.dtype, tensor.dims, source);
}

function countZeros(values: Float32Array): number {
  let count = 0;
  for (const x of values) if (x === 0) count++;
  return count;
}

function isZero(tensor: Tensor | undefined): boolean {
  return tensor?.toFloat32().every((x) => x === 0) === true;
}

function reportOf(site: WeightSite, zeros: ReadonlyMap<WeightSite, number>, reason: string | undefined): WeightReport {
  const { index, name, opType, value, tensor } = site;
  const count = zeros.get(site) ?? countZeros((value.tensor ?? tensor).toFloat32());
  const base = { index, name, opType, weight: value.name, dims: tensor.dims, weights: tensor.size, zeros: count };
  return { ...base, ...(reason && { reason }) };
}
