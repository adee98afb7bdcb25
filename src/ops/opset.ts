/** @file Which opsets Tersor knows, and the IR version that a file needs for them. Source: onnx/docs/Versioning.md. */

/** The newest ai.onnx opset whose operators Tersor knows. */
export const maxOpset = 25;

/** The newest IR version that Tersor reads; 13 came with opset 25. */
export const maxIrVersion = 13;

/** [IR version, the first ai.onnx opset that was released with it]. Version 3 brought opset imports. */
const irVersions: readonly (readonly [irVersion: number, firstOpset: number])[] = [
  [3, 1],
  [4, 9],
  [5, 10],
  [6, 11],
  [7, 12],
  [8, 15],
  [9, 19],
  [10, 21],
  [11, 23],
  [12, 24],
  [13, 25],
];

/** The least IR version of a file that imports ai.onnx at `opset`: checkers and old runtimes refuse a smaller one. */
export function irVersionForOpset(opset: number): number {
  return irVersions.findLast(([, first]) => first <= opset)?.[0] ?? 3;
}

/** The newest ai.onnx opset that was released with `irVersion`, no larger than `maxOpset`; 1 for the versions before 3, which name no opset. */
export function newestOpsetForIr(irVersion: number): number {
  if (irVersion < 3) return 1;
  const next = irVersions.find(([version]) => version > irVersion);
  return next ? next[1] - 1 : maxOpset;
}
