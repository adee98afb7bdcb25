/** @file Cases of the gradient check: products with packed weights. */
import type { Case, Cases } from "./gradcheck.ts";

/** Numbers that look random, in a list of the textual format. */
function list(count: number, numberAt: (i: number) => number): string {
  return Array.from({ length: count }, (_, i) => numberAt(i)).join(", ");
}

/** x [2, 2, k] by a weight [3, k] in blocks of 32; the weight and its scales stay as they are. */
function product(k: number, bits: number, zeroPoints: "none" | "packed" = "none", bias = false): Case {
  const blocks = Math.ceil(k / 32);
  const bytes = list(3 * blocks * 4 * bits, (i) => (i * 89 + 17) % 256);
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const constants = [
    `uint8[3,${blocks},${4 * bits}] w = {${bytes}}`,
    `float[${3 * blocks}] s = {${list(3 * blocks, (i) => 0.01 + 0.003 * i)}}`,
    ...(zeroPoints === "packed"
      ? [`uint8[${3 * zeroBytes}] z = {${list(3 * zeroBytes, (i) => (i * 53 + 7) % 256)}}`]
      : []),
  ];
  const args = ["x", "w", "s", zeroPoints === "packed" ? "z" : '""', '""', bias ? "b" : '""'].join(", ");
  const inputs = `T[2,2,${k}] x${bias ? ", T[3] b" : ""}`;
  const attributes = `K = ${k}, N = 3, bits = ${bits}, block_size = 32`;
  return {
    text: `(${inputs}) => (y) <${constants.join(", ")}> { y = com.microsoft.MatMulNBits<${attributes}>(${args}) }`,
    dtype: "float",
    step: 0.1,
  };
}

export const packedProducts: Cases = {
  "com.microsoft.MatMulNBits": [
    product(64, 4),
    product(80, 4, "packed", true),
    product(32, 8),
    product(64, 8, "packed"),
  ],
};
