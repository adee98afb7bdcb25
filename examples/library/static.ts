/** @file Weights and activations in 8 bits, calibrated on samples of one's own, judged by a metric of one's own. */
import { compare, quantize, simplify, toBytes } from "tersor";

interface Picture {
  readonly pixels: Float32Array; // as long as the model's input, which gives it its shape
  readonly label: number;
}

export async function calibrated(onnx: Uint8Array, seen: readonly Picture[], unseen: readonly Picture[]) {
  // A function that is called anew for every pass: nothing is kept in memory.
  function* samples(pictures: readonly Picture[]) {
    for (const { pixels, label } of pictures) yield { inputs: { input: pixels }, label };
  }
  const { model } = await simplify(onnx);
  const { model: small } = await quantize(model, { mode: "static", target: "any", calibrate: () => samples(seen) });

  const margin = {
    name: "margin of the best class",
    higherIsBetter: true,
    create() {
      let [sum, count] = [0, 0];
      return {
        add(outputs: Readonly<Record<string, { readonly data: ArrayLike<number | bigint> }>>) {
          const [scores] = Object.values(outputs);
          const [best = 0, second = 0] = Array.from(scores?.data ?? [], Number).sort((a, b) => b - a);
          sum += best - second;
          count++;
        },
        value: () => sum / count,
      };
    },
  };
  const { report } = await compare(small, { against: model, data: () => samples(unseen), metric: margin, runs: 0 });
  return { bytes: toBytes(small).byteLength, before: report.metric?.before, after: report.metric?.after };
}
