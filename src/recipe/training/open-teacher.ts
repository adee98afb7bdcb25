/** @file The teacher of a training, with the file that keeps its answers. */
import type { Model } from "../../ir/model.ts";
import type { Runtime, SessionOptions } from "../../runtime/runtime.ts";
import { type AugmentSettings, varies } from "../../train/augment.ts";
import { Teacher } from "../../train/teacher.ts";
import { TersorError } from "../../util/errors.ts";
import type { StepContext } from "../step.ts";

export interface OpenedTeacher {
  readonly teacher: Teacher;
  /** Writes the answers that are new to the file. */
  keep(): Promise<void>;
  /** What the user should know of the file. */
  notes(): readonly string[];
}

/**
 * Undefined without a teacher.
 * @throws bad-recipe for a cache where nothing could be found in it again; bad-data for a file that is none
 */
export async function openTeacher(
  model: Model | undefined,
  values: readonly string[],
  { cache, augment }: { readonly cache?: string | undefined; readonly augment: AugmentSettings },
  around: { readonly runtime: Runtime; readonly session: SessionOptions; readonly ctx: StepContext },
): Promise<OpenedTeacher | undefined> {
  const { runtime, session, ctx } = around;
  if (cache === undefined) {
    const teacher = model && (await Teacher.open(model, values, { runtime, session }));
    return teacher && { teacher, keep: async () => {}, notes: () => [] };
  }
  if (!model)
    throw new TersorError("bad-recipe", "cache: there is no teacher whose answers could be kept. Leave it out.");
  if (varies(augment) && augment.variants === undefined)
    throw new TersorError(
      "bad-recipe",
      "cache: augmentation makes new samples in every epoch, and the teacher's answers with them: expected none, or a number of variants. Leave out cache (the teacher then runs beside the student), or add variants:4, say, to augment.",
    );
  const file = await ctx.files.readOwn(cache);
  const teacher = await Teacher.open(model, values, { runtime, session, keepAnswers: true });
  const { answers } = teacher;
  const isOurs = file === undefined || answers?.load(file, cache);
  const before = answers?.size ?? 0;
  return {
    teacher,
    keep: async () => {
      if (answers && answers.added > 0) await ctx.files.write(cache, answers.encode());
    },
    notes: () => [
      ...(isOurs ? [] : [`cache "${cache}" was of another teacher, or of other values of it: it was made anew`]),
      `the teacher answered for ${answers?.added} samples; ${before} answers were there before`,
    ],
  };
}
