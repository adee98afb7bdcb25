/** @file Pruning of the vocabulary: finds the tokens of a corpus, takes the others out, proves it on that corpus, and writes what maps ids. */
import * as z from "zod";
import type { Dataset } from "../../data/dataset.ts";
import { FidelityMeter } from "../../evaluate/fidelity.ts";
import type { Model } from "../../ir/model.ts";
import { modelCost } from "../../ops/cost.ts";
import { infer } from "../../ops/infer.ts";
import { type PrunedTokenizer, pruneTokenizer } from "../../prune/vocabulary/prune-tokenizer.ts";
import { pruneVocabulary, type VocabularyResult, vocabularyOf } from "../../prune/vocabulary/prune-vocabulary.ts";
import type { Session } from "../../runtime/runtime.ts";
import { type HostTensor, hostTensor, numbersOf } from "../../tensor/host-tensor.ts";
import { elementCount, type TypedArray } from "../../tensor/tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { sampleBatches } from "../compare.ts";
import { dataOption, type runtimeOptions } from "../run-options.ts";
import type { DataSpec, StepContext } from "../step.ts";

export const vocabularyOptions = {
  corpus: dataOption
    .optional()
    .describe("for structure vocabulary: everything that the model is to be used on; as data"),
  tokenizer: z
    .string()
    .min(1)
    .optional()
    .describe("for structure vocabulary: the model's tokenizer.json, which a smaller one is made of"),
  vocabularyFiles: z
    .string()
    .min(1)
    .optional()
    .describe(
      "for structure vocabulary: beginning of the paths of the files that are written, FILES.vocabulary.json and FILES.tokenizer.json",
    ),
};

export interface VocabularyReport {
  readonly before: number;
  readonly after: number;
  /** Different tokens that the corpus has. */
  readonly inCorpus: number;
  /** The input that takes new ids, and the outputs that answer for the tokens that stay. */
  readonly input: string;
  readonly outputs: readonly string[];
  readonly files: readonly string[];
}

interface Options
  extends z.output<z.ZodObject<typeof vocabularyOptions>>,
    Pick<z.output<z.ZodObject<typeof runtimeOptions>>, "runtime" | "threads"> {}

export interface VocabularyCut {
  readonly result: VocabularyResult;
  readonly report: VocabularyReport;
  readonly macs: { readonly before: number; readonly after: number };
  /** Largest difference between what both models answer on the corpus, for the tokens that stay; absent in a dry run. */
  readonly proof?: { readonly data: string; readonly maxRelativeError: number };
}

/** @throws bad-recipe without a corpus or a place for the files; what finding, cutting and running throws */
export async function cutVocabulary(model: Model, options: Options, ctx: StepContext): Promise<VocabularyCut> {
  const { corpus, tokenizer, vocabularyFiles: files } = options;
  if (corpus === undefined)
    throw new TersorError(
      "bad-recipe",
      "prune: structure vocabulary needs a corpus: expected data with all texts that count. Name it with corpus.",
    );
  if (files === undefined && !ctx.dryRun)
    throw new TersorError(
      "bad-recipe",
      "prune: structure vocabulary writes a mapping of ids: expected vocabularyFiles, the beginning of its path.",
    );
  const spec: DataSpec = typeof corpus === "string" && tokenizer !== undefined ? { path: corpus, tokenizer } : corpus;
  const { input, size } = vocabularyOf(model);
  const { runtime, threads } = options;
  const settings = { runtime, optimization: "disabled", ...(threads !== undefined && { threads }) } as const;
  const session = await ctx.open(model, settings);
  try {
    const data = await ctx.data(spec, session.inputs);
    if (!data) throw new TersorError("internal", "a corpus was named and not opened");
    const used = await idsOf(data, input, size);
    const pruned = tokenizer === undefined ? undefined : await smallerTokenizer(tokenizer, used, size, ctx);
    const result = pruneVocabulary(model, pruned?.kept ?? used);
    const proof = ctx.dryRun ? undefined : await prove(session, result, data, ctx, settings);
    const written = files === undefined || ctx.dryRun ? [] : await write(files, result, pruned, ctx);
    const outputs = result.narrowed.map(({ output }) => output);
    const report = { before: size, after: result.kept.length, inCorpus: used.size, input, outputs, files: written };
    const macs = { before: macsOf(model), after: macsOf(result.model) };
    return {
      result,
      report,
      macs,
      ...(proof !== undefined && { proof: { data: data.name, maxRelativeError: proof } }),
    };
  } finally {
    await session.release();
  }
}

function macsOf(model: Model): number {
  return modelCost(model, infer(model).types).macs ?? 0;
}

/** All ids of the corpus. @throws bad-data for a corpus without samples, and for ids that the model has no row for */
async function idsOf(data: Dataset, input: string, size: number): Promise<ReadonlySet<number>> {
  const used = new Set<number>();
  for await (const { id, inputs } of data) {
    const ids = inputs[input];
    for (const token of Array.from(ids ? numbersOf(ids, `${data.name}, sample "${id}"`) : [])) {
      if (token < 0 || token >= size)
        throw new TersorError(
          "bad-data",
          `${data.name}, sample "${id}": token ${token}: expected ids from 0 to ${size - 1}.`,
        );
      used.add(token);
    }
  }
  if (used.size === 0)
    throw new TersorError("bad-data", `${data.name}: gives "${input}" no tokens. A corpus is needed.`);
  return used;
}

async function smallerTokenizer(path: string, used: ReadonlySet<number>, size: number, ctx: StepContext) {
  const bytes = await ctx.files.read(path);
  if (!bytes) throw new TersorError("bad-data", `tokenizer "${path}": no such file.`);
  return pruneTokenizer(new TextDecoder().decode(bytes), path, used, size);
}

/** The largest difference on the corpus, relative to the largest answer. */
async function prove(
  reference: Session,
  result: VocabularyResult,
  data: Dataset,
  ctx: StepContext,
  settings: Parameters<StepContext["open"]>[1],
): Promise<number> {
  const candidate = await ctx.open(result.model, settings);
  const progress = ctx.progress("proving", data.size ?? 0, "samples");
  try {
    const places = new Map(result.kept.map((id, place) => [id, place]));
    const meter = new FidelityMeter();
    const { signal } = ctx;
    let done = 0;
    for await (const { inputs, samples } of sampleBatches(reference, data)) {
      const ids = inputs[result.input] as HostTensor;
      const moved = Array.from(numbersOf(ids, result.input), (id) => places.get(id) as number);
      const own = { ...inputs, [result.input]: hostTensor(ids.dtype, ids.dims, moved) };
      const wanted = await reference.run(inputs, undefined, { signal });
      const given = await candidate.run(own, undefined, { signal });
      meter.add(narrowed(wanted, result), given);
      done += samples.length;
      progress.update(done);
    }
    return Math.max(0, ...Object.values(meter.result()).map(({ maxRelativeError }) => maxRelativeError));
  } finally {
    progress.end();
    await candidate.release();
  }
}

/** Outputs at the tokens that stay. */
function narrowed(outputs: Readonly<Record<string, HostTensor>>, { narrowed: list, kept }: VocabularyResult) {
  const result = new Map(Object.entries(outputs));
  for (const { output, axis } of list) {
    const tensor = outputs[output];
    if (!tensor || Array.isArray(tensor.data)) continue;
    const dims = tensor.dims.map((dim, i) => (i === axis ? kept.length : dim));
    const size = tensor.dims[axis] as number;
    const rows = elementCount(tensor.dims) / size;
    const Data = tensor.data.constructor as new (length: number) => TypedArray;
    const data = new Data(rows * kept.length);
    // The axis of tokens is the last.
    for (let row = 0; row < rows; row++)
      kept.forEach((id, place) => {
        data[row * kept.length + place] = (tensor.data as TypedArray)[row * size + id] as never;
      });
    result.set(output, { dtype: tensor.dtype, dims, data });
  }
  return Object.fromEntries(result);
}

/** What {@link write} writes. */
export function vocabularyPaths(files: string, hasTokenizer: boolean) {
  const mapping = ["vocabulary", `${files}.vocabulary.json`] as const;
  return hasTokenizer ? [mapping, ["tokenizer", `${files}.tokenizer.json`] as const] : [mapping];
}

/** Writes what maps ids, and the smaller tokenizer. */
async function write(
  files: string,
  { kept, size, input, narrowed: outputs }: VocabularyResult,
  tokenizer: PrunedTokenizer | undefined,
  ctx: StepContext,
): Promise<string[]> {
  const mapping = {
    before: size,
    after: kept.length,
    input,
    outputs: outputs.map(({ output }) => output),
    oldIds: kept,
  };
  const texts = [JSON.stringify(mapping), ...(tokenizer ? [tokenizer.json()] : [])];
  const paths = vocabularyPaths(files, tokenizer !== undefined).map(([, path]) => path);
  for (const [i, path] of paths.entries()) await ctx.files.write(path, new TextEncoder().encode(texts[i]));
  return paths;
}
