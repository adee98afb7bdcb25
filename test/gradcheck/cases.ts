/** @file The cases of the gradient check, by operator: `domain.Operator`, or `Operator` of ai.onnx. A family of rules, a file. */
import { elementwise } from "./elementwise.ts";
import type { Cases } from "./gradcheck.ts";
import { linalg } from "./linalg.ts";
import { reduces } from "./reduce.ts";

export const cases: Cases = { ...elementwise, ...linalg, ...reduces };
