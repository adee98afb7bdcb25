/** @file Datasets and formats, with those of files. */
export { type OpenOptions, openData } from "../../data/node/open-data.ts";
export * from "../../library/namespaces/data.ts";
