/** @file Everything the wasm module exports. The contract of each function: RawKernels in ../raw.ts. */
export * from "./statistics";
export * from "./quantize";
export * from "./error";
export * from "./pack";
export * from "./convert";
export * from "./linalg";
export * from "./hqq";
