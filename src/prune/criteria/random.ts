/** @file Criterion: chance, the baseline that others have to beat. */
import { keyOf, uniform } from "../../util/rng.ts";
import type { Criterion } from "./criterion.ts";

export const random: Criterion = {
  name: "random",
  paper: "none: a baseline",
  summary: "chance: the baseline",
  needs: "weights",
  score: ({ channels, seed, name }) =>
    Float64Array.from({ length: channels }, (_, channel) => uniform(seed, keyOf(`prune ${name}`), channel)),
};
