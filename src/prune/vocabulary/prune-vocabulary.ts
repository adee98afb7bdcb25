/** @file Vocabulary pruning: rows of embeddings that a corpus never looks up go, and with them what the model answers for these tokens. */
import type { Model } from "../../ir/model.ts";
import { infer } from "../../ops/infer.ts";
import { removeDeadCode } from "../../passes/dead-code.ts";
import { exposeWeights } from "../../passes/expose-weights.ts";
import { mergeInitializers } from "../../passes/merge-initializers.ts";
import { fromNumbers, int64 } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { type Analysis, analyze, type Obstacle } from "../graph/analysis.ts";
import { applyCut } from "../graph/cut.ts";
import { atomsOf } from "../graph/groups.ts";
import { prepared } from "../graph/prepare.ts";
import { findVocabulary } from "./find-vocabulary.ts";

export interface VocabularyResult {
  /** The model that was given where no token was removed. */
  readonly model: Model;
  /** The input that takes new ids now. */
  readonly input: string;
  /** Outputs that answer for the tokens that stay only, with the axis. */
  readonly narrowed: readonly { readonly output: string; readonly axis: number }[];
  /** Outputs with an axis as long as the vocabulary that stay as they are, and why. */
  readonly whole: readonly { readonly output: string; readonly obstacle: Obstacle }[];
  /** Old ids that stay, ascending: the new id is the place. */
  readonly kept: readonly number[];
  /** Tokens before. */
  readonly size: number;
}

/** Rows of the tables of a model that tokens are looked up in, and the name of the input. */
export function vocabularyOf(model: Model): { readonly input: string; readonly size: number } {
  const { input, size } = findVocabulary(exposeWeights(model).model);
  return { input, size };
}

/**
 * Removes all tokens but those of `ids`. The input takes new ids afterwards, and outputs that answer for every token answer for those that stay.
 * @throws unsupported-op where ids are not looked up in one table, or its rows can't go; bad-data for ids that the table does not have
 */
export function pruneVocabulary(given: Model, ids: Iterable<number>): VocabularyResult {
  const model = prepared(given);
  const { input, lookups, size, compared } = findVocabulary(model);
  // Ids that the graph compares with, such as padding, stay.
  const inGraph = compared.flatMap(({ node, constant }) => [...(node.input(constant).tensor?.toNumbers() ?? [])]);
  const kept = [...new Set([...ids, ...inGraph.filter((id) => id >= 0 && id < size)])].sort((a, b) => a - b);
  const [lost] = kept.filter((id) => !(Number.isInteger(id) && id >= 0 && id < size));
  if (lost !== undefined)
    throw new TersorError("bad-data", `prune: vocabulary: token ${lost}: expected ids from 0 to ${size - 1}.`);
  const analysis = analyze(model, { interface: "outputs", lookups });
  const isKept = new Set(kept);
  const cut = new Set<number>();
  for (const node of lookups) {
    const port = analysis.port(node.input(0), 0);
    atomsOf(analysis, port ?? missing(node.input(0).name)).forEach((atom, id) => {
      const obstacle = analysis.obstacle(atom);
      if (!isKept.has(id) && obstacle)
        throw new TersorError(
          "unsupported-op",
          `prune: vocabulary: rows of "${node.input(0).name}" can't go: ${obstacle.reason}.`,
        );
      if (!isKept.has(id)) cut.add(atom);
    });
  }
  const widths = [...lookups].flatMap((node) => analysis.port(node.input(0), 1) ?? []);
  const width = new Set(widths.flatMap((port) => atomsOf(analysis, port)));
  const { narrowed, whole } = outputsOf(analysis, size, isKept, width, cut);
  const report = { input, kept, size, narrowed, whole };
  if (cut.size === 0) return { model: given, ...report, narrowed: [] };
  const place = new Map(kept.map((id, index) => [id, index]));
  for (const { node, constant } of compared) {
    const value = node.input(constant);
    const numbers = [...(value.tensor?.toNumbers() ?? [])].map((id) => place.get(id) ?? -1);
    const { dtype, dims } = value.tensor ?? int64([], [0]);
    node.setInput(constant, node.graph.addInitializer(value.name, fromNumbers(dtype, dims, numbers)));
  }
  applyCut(analysis, cut);
  const result = mergeInitializers(removeDeadCode(model).model).model;
  infer(result);
  return { model: result, ...report };
}

/** Adds to the cut what outputs answer for tokens that go. A last axis is theirs where it is as long as the vocabulary and not of the embedding's `width`. */
function outputsOf(
  analysis: Analysis,
  size: number,
  isKept: ReadonlySet<number>,
  width: ReadonlySet<number>,
  cut: Set<number>,
) {
  const narrowed: { output: string; axis: number }[] = [];
  const whole: { output: string; obstacle: Obstacle }[] = [];
  const { graph } = analysis.model;
  for (const value of graph.outputs) {
    const [port] = analysis.ports.filter((each) => each.value === value).slice(-1);
    if (!port || port.size !== size) continue;
    const atoms = atomsOf(analysis, port);
    if (atoms.some((atom) => width.has(atom))) continue;
    const obstacle = atoms.map((atom) => analysis.obstacle(atom)).find((each) => each !== undefined);
    if (obstacle) whole.push({ output: value.name, obstacle });
    else {
      narrowed.push({ output: value.name, axis: port.axis });
      atoms.forEach((atom, id) => {
        if (!isKept.has(id)) cut.add(atom);
      });
    }
  }
  return { narrowed, whole };
}

function missing(name: string): never {
  throw new TersorError("internal", `the table "${name}" is not in the analysis`);
}
