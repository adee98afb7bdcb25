/** @file Recipes and their steps as data. */
export { type Agreement, type MetricChange, measureAgreement } from "../../recipe/compare.ts";
export { type DescribeOptions, describeModel, type ModelDescription } from "../../recipe/describe-model.ts";
export { defineConfig, parseRecipe, type Recipe, type RecipeStep, recipeJsonSchema } from "../../recipe/recipe.ts";
export { runSteps, type StepRecord } from "../../recipe/run-steps.ts";
export type { DataSpec, ModelSize, Progress, Step, StepContext, StepReport, StepResult } from "../../recipe/step.ts";
export type { CompareOptions, CompareReport } from "../../recipe/steps/compare.ts";
export { steps } from "../../recipe/steps.ts";
