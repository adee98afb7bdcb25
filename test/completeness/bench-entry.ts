/** @file What bench/completeness.mjs takes of the tests: the same rows, models and checker. */
export { known } from "./known.ts";
export { models } from "./models.ts";
export { pairwise, plans, product } from "./rows.ts";
export { Bench } from "./run-row.ts";
