/** @file Training piece by piece. */
export {
  type Checkpoint,
  type EpochRecord,
  type FitEnvironment,
  type FitResult,
  fit,
  type StepEvent,
} from "../../train/fit.ts";
export { type FreshModel, freshWeights } from "../../train/fresh-weights.ts";
export type { TrainOptions } from "../../train/options.ts";
export { Teacher, type TeacherOptions } from "../../train/teacher.ts";
