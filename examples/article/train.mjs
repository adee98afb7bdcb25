/** @file The digits that the networks are trained on: data for a recipe. */
import { digits } from "./digits.mjs";

export default digits("train");
