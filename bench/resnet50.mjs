/** @file A model of ResNet-50's shape (53 Conv and a Gemm, batch norms folded, 25.5 M weights) with seeded weights, and pictures for it. */
import { attr } from "../dist/ir/attribute.js";
import { Graph } from "../dist/ir/graph.js";
import { Model } from "../dist/ir/model.js";
import { tensorType } from "../dist/ir/types.js";
import { fromTypedArray } from "../dist/tensor/tensor.js";
import { Rng } from "../dist/util/rng.js";

/** Blocks and inner channels of each stage. */
const stages = [
  [3, 64],
  [4, 128],
  [6, 256],
  [3, 512],
];

/** Image [1, 3, 224, 224] → logits [1, 1000]. */
export function resnet50() {
  const graph = new Graph("resnet50");
  const model = new Model(graph);
  model.opsetImports.set("", 13);
  model.irVersion = 8;
  const constant = (name, dims, size) => {
    const rng = new Rng(50, name);
    const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal() * size);
    return graph.addInitializer(name, fromTypedArray("float32", dims, data));
  };
  let count = 0;
  const node = (opType, inputs, attributes = {}) =>
    graph.addNode({ opType, name: `${opType}_${count++}`, inputs, attributes }).output();
  const conv = (x, from, to, { kernel, stride = 1, gain = 1 }) => {
    const name = `conv${count}`;
    const weight = constant(`${name}.w`, [to, from, kernel, kernel], gain * Math.sqrt(2 / (from * kernel * kernel)));
    const pad = (kernel - 1) / 2;
    return node("Conv", [x, weight, constant(`${name}.b`, [to], 0.05)], {
      kernel_shape: attr.ints([kernel, kernel]),
      strides: attr.ints([stride, stride]),
      pads: attr.ints([pad, pad, pad, pad]),
    });
  };
  const image = graph.addValue("x", tensorType("float32", [1, 3, 224, 224]));
  graph.addInput(image);
  let x = node("Relu", [conv(image, 3, 64, { kernel: 7, stride: 2 })]);
  x = node("MaxPool", [x], {
    kernel_shape: attr.ints([3, 3]),
    strides: attr.ints([2, 2]),
    pads: attr.ints([1, 1, 1, 1]),
  });
  let from = 64;
  for (const [stage, [blocks, inner]] of stages.entries())
    for (let block = 0; block < blocks; block++) {
      const stride = stage > 0 && block === 0 ? 2 : 1;
      const a = node("Relu", [conv(x, from, inner, { kernel: 1 })]);
      const b = node("Relu", [conv(a, inner, inner, { kernel: 3, stride })]);
      const c = conv(b, inner, 4 * inner, { kernel: 1, gain: 0.3 });
      const shortcut = block === 0 ? conv(x, from, 4 * inner, { kernel: 1, stride }) : x;
      x = node("Relu", [node("Add", [c, shortcut])]);
      from = 4 * inner;
    }
  const flat = node("Flatten", [node("GlobalAveragePool", [x])]);
  const logits = graph.addNode({
    opType: "Gemm",
    name: "fc",
    inputs: [flat, constant("fc.w", [1000, from], 0.02), constant("fc.b", [1000], 0.01)],
    attributes: { transB: attr.int(1) },
    outputs: ["logits"],
  });
  logits.output().type = tensorType("float32", [1, 1000]);
  graph.addOutput(logits.output());
  return model;
}

/** Smooth pictures, normalized: `count` × [3, 224, 224]. */
export function pictures(count) {
  const side = 224;
  const data = new Float32Array(count * 3 * side * side);
  for (let i = 0, at = 0; i < count; i++) {
    const rng = new Rng(7, `picture ${i}`);
    for (let channel = 0; channel < 3; channel++) {
      const waves = Array.from({ length: 6 }, () => [rng.uniform() * 0.2, rng.uniform() * 0.2, rng.uniform() * 6.3]);
      for (let y = 0; y < side; y++)
        for (let x = 0; x < side; x++)
          data[at++] = waves.reduce((sum, [a, b, c]) => sum + Math.sin(a * x + b * y + c), rng.normal() * 0.2) * 0.5;
    }
  }
  return data;
}
