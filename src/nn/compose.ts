/** @file Layers made of layers, and the model made of them. */
import { makeEmitter } from "../autodiff/emitter.ts";
import { gradientOpset } from "../autodiff/gradient.ts";
import { Graph } from "../ir/graph.ts";
import { Model } from "../ir/model.ts";
import { type Dim, tensorType, typeToString } from "../ir/types.ts";
import type { DType } from "../tensor/dtype.ts";
import { type Layer, LayerGraph } from "./layer.ts";

/** Layers one after the other, as one. */
export function sequential(layers: readonly Layer[]): Layer {
  return { kind: "block", build: (graph, x) => graph.addAll(layers, x) };
}

/** x plus what the layers make of it (He et al. 2015, https://arxiv.org/abs/1512.03385); `shortcut` fits x where they change its shape. */
export function residual(layers: readonly Layer[], shortcut: readonly Layer[] = []): Layer {
  return {
    kind: "residual",
    build: (graph, x) => {
      const { op } = graph;
      const y = graph.addAll(layers, x);
      const same = graph.addAll(shortcut, x);
      const [inside, around] = [op.typeOf(y), op.typeOf(same)].map(typeToString);
      if (inside !== around)
        throw graph.misfit(
          same,
          `the shape of what the layers give, ${inside}`,
          "Keep the shape (padding), or give a shortcut: a convolution or a linear layer of the same size.",
        );
      return op.Add(same, y);
    },
  };
}

export interface BuildOptions {
  /** Dims behind the batch axis; a name stands for a size that varies. */
  readonly input: readonly (number | string)[];
  /** Default x. */
  readonly inputName?: string;
  /** Default float32; int64 for an embedding. */
  readonly dtype?: DType;
  /** Default y. */
  readonly outputName?: string;
  /** Seed of every parameter. */
  readonly seed?: number;
  /** Default model. */
  readonly name?: string;
}

/** The name of the batch axis. */
const BATCH: Dim = "N";

/**
 * A plain ONNX model of the layers, with seeded parameters and any batch size.
 * @throws shape-mismatch naming the layer that does not fit what is in front of it, and what to do
 */
export function build(layers: Layer | readonly Layer[], options: BuildOptions): Model {
  const { input, dtype = "float32", inputName = "x", outputName = "y", seed = 0, name = "model" } = options;
  const model = new Model(new Graph(name));
  model.opsetImports.set("", gradientOpset);
  model.producerName = "tersor";
  const { graph } = model;
  const x = graph.addValue(inputName, tensorType(dtype, [BATCH, ...input]));
  graph.addInput(x);
  const op = makeEmitter(graph, gradientOpset, { types: new Map(), contents: new Map() });
  const list = "build" in layers ? [layers] : layers;
  const last = new LayerGraph(op, seed).addAll(list, x);
  const y = last === x ? op.Identity(x) : last;
  y.type = op.typeOf(y);
  graph.rename(y, graph.uniqueName(outputName));
  graph.addOutput(y);
  for (const node of graph.nodes) node.name ||= node.outputs.find((output) => output)?.name ?? "";
  return model;
}
