/** @file The textual format. */
export { hashTensor } from "./elements.ts";
export { type ParseOptions, parse } from "./parse.ts";
