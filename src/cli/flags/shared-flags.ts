/** @file Flags that several commands have. */
import type { Flag } from "../args.ts";

export const shape: Flag = {
  name: "shapes",
  value: "INPUT=SIZES",
  type: "shapes",
  summary: "sizes that the model leaves open, such as x=1,3,224,224; may be repeated",
};

export const seed: Flag = {
  name: "seed",
  value: "N",
  type: "number",
  summary: "seed of everything random (default 0)",
};

/** How many samples calibration runs on, and how many at a time. */
export const calibrationFlags: readonly Flag[] = [
  {
    name: "calibration-samples",
    value: "N",
    type: "number",
    summary: "calibrate on the first N samples (default 256)",
  },
  {
    name: "batch-size",
    value: "N",
    type: "number",
    summary: "samples in one calibration run (default: the model's, else 1)",
  },
];

export const dryRun: Flag = {
  name: "dry-run",
  summary: "say what would be done and how large the result would be; write nothing",
};

export const workers: Flag = {
  name: "workers",
  value: "N",
  type: "number",
  summary: "threads that quantize by gptq, awq or hqq, with the same result (default: one per processor, up to 4)",
};

export const noSimplify: Flag = {
  name: "no-simplify",
  option: "simplify",
  sets: false,
  summary: "leave the graph as it is but for constants, which become initializers",
};
