/** @file Causes of float16: numbers beyond 65,504, and numbers below what it holds in full. */

import type { Value } from "../../../ir/value.ts";
import { floatToHalf, halfToFloat } from "../../../tensor/half.ts";
import type { CauseRow, Finding } from "../cause.ts";
import { digits } from "../digits.ts";
import type { Evidence } from "../evidence.ts";

const LARGEST = 65_504;

interface HalfConstant {
  readonly name: string;
  readonly largest: number;
  readonly noise: number;
  readonly energy: number;
}

const factors = new Set(["Conv", "ConvTranspose", "MatMul", "Gemm", "Mul", "Div"]);

/** Whether a constant multiplies: of a sum, tiny terms may be lost. */
function isFactor(value: Value): boolean {
  return [...value.uses].some(({ node, index }) => factors.has(node.opType) && index < 2);
}

/** Factors that were float32 and are float16 now. */
function constants({ original, changed }: Evidence): HalfConstant[] {
  return changed.graph.initializers.flatMap((value) => {
    const { name, tensor } = value;
    const before = original.graph.find(name)?.tensor;
    if (tensor?.dtype !== "float16" || before?.dtype !== "float32" || !isFactor(value)) return [];
    let [largest, noise, energy] = [0, 0, 0];
    for (const x of before.toFloat32()) {
      if (Math.abs(x) > largest) largest = Math.abs(x);
      energy += x * x;
      noise += (x - halfToFloat(floatToHalf(x))) ** 2;
    }
    return [{ name, largest, noise, energy }];
  });
}

export const float16Overflow: CauseRow = {
  kind: "float16-overflow",
  title: "beyond float16",
  advice: "Keep the nodes that give and read it float32 (--blocklist NAME), or scale the weights before it down.",
  explains: ["not-finite", "float16-underflow"],
  test: (evidence) => {
    const values = evidence.halves
      .filter(({ largest }) => largest > LARGEST)
      .map(({ value, largest }): Finding => {
        const what = `"${value}" reaches ${digits(largest)}, and float16 ends at 65,504`;
        return { value, layer: value, noise: Number.POSITIVE_INFINITY, what };
      });
    const weights = constants(evidence)
      .filter(({ largest }) => largest > LARGEST && Number.isFinite(largest))
      .map(({ name, largest }): Finding => {
        const what = `constant "${name}" holds ${digits(largest)}, and float16 ends at 65,504`;
        return { value: name, noise: 1, what };
      });
    return [...values, ...weights];
  },
};

export const float16Underflow: CauseRow = {
  kind: "float16-underflow",
  title: "too small for float16",
  advice: "Keep the nodes that give and read it float32 (--blocklist NAME), or scale it up.",
  test: (evidence) => {
    const values = evidence.halves
      .filter(({ largest, energy }) => largest <= LARGEST && energy > 0)
      .map(({ value, energy, noise, tiny, largest }): Finding => {
        const what = `${digits(tiny * 100)} % of "${value}" is below 6.1e-5, where float16 loses digits; its largest is ${digits(largest)}`;
        return { value, layer: value, noise: noise / energy, what };
      });
    const weights = constants(evidence)
      .filter(({ energy, largest }) => energy > 0 && largest <= LARGEST)
      .map(({ name, noise, energy, largest }): Finding => {
        const what = `constant "${name}" (largest ${digits(largest)}) loses digits in float16`;
        return { value: name, noise: noise / energy, what };
      });
    return [...values, ...weights];
  },
};
