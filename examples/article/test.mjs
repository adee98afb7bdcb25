/** @file The digits that no network has seen: data for a recipe. */
import { digits } from "./digits.mjs";

export default digits("t10k");
