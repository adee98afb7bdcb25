/** @file The runtimes by name: nothing of them is loaded by it. */

export const runtimeNames = ["ort-node", "ort-web"] as const;

export type RuntimeName = (typeof runtimeNames)[number];
