/** @file Model files: what belongs to one, what it weighs. */
export { type FileRecord, modelFiles } from "../../recipe/node/files.ts";
export { FileSource } from "../file-source.ts";
export { isSameFile } from "../save.ts";
export { type FileSize, measureSize, type SizeOptions } from "../size.ts";
