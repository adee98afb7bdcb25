/** @file The operators that opset versions changed incompatibly, one row each: what the converter does about it. */
import { attr } from "../../ir/attribute.ts";
import { int64 } from "../../tensor/tensor.ts";
import {
  asFloats,
  asInts,
  asIntVector,
  asPadValue,
  asScalarOfInput,
  constantFor,
  moveAttributes,
} from "./move-attributes.ts";
import {
  batchNormalization9,
  batchNormalization14,
  dropout10,
  dropout12,
  groupNormalization21,
} from "./normalization.ts";
import { resize11, resize13, upsampleToResize } from "./resize.ts";
import type { Rewrite } from "./rewriter.ts";
import { softmax13 } from "./softmax.ts";

const axesToInput = moveAttributes({ axes: asInts });

const refuse =
  (why: string): Rewrite =>
  (node, rewriter) =>
    rewriter.refuse(node, why);

const refuseExperiment = refuse("it was an experiment that opset 10 put an end to");

/** Another name for the same. */
const renameTo =
  (opType: string): Rewrite =>
  (node) => {
    node.graph.replaceNode(node, { opType, inputs: node.inputs, attributes: node.attributes });
  };

/** By opset version, then by operator: from the version before to this one. */
export const rewrites: Readonly<Record<number, Readonly<Record<string, Rewrite>>>> = {
  9: {
    BatchNormalization: batchNormalization9,
    MeanVarianceNormalization: refuse("before opset 9 it was an experiment with other attributes"),
    Scan: refuse("Scan 8 runs over a batch of sequences of different lengths, which no newer operator does"),
    Upsample: moveAttributes({ scales: asFloats }),
  },
  10: {
    Affine: refuseExperiment,
    Crop: refuseExperiment,
    Dropout: dropout10,
    DynamicSlice: renameTo("Slice"),
    ImageScaler: refuseExperiment,
    ParametricSoftplus: refuseExperiment,
    Scale: refuseExperiment,
    ScaledTanh: refuseExperiment,
    Slice: moveAttributes({ starts: asInts, ends: asInts, axes: asInts }),
    TopK: moveAttributes({ k: asIntVector }),
    Upsample: upsampleToResize,
  },
  11: {
    Clip: moveAttributes({ min: asScalarOfInput, max: asScalarOfInput }),
    Pad: moveAttributes({ pads: asInts, value: asPadValue }),
    Resize: resize11,
    Scatter: renameTo("ScatterElements"),
  },
  12: { Dropout: dropout12 },
  13: {
    Hardmax: softmax13,
    LogSoftmax: softmax13,
    ReduceSum: axesToInput,
    Resize: resize13,
    Softmax: softmax13,
    Split: moveAttributes({ split: asInts }),
    Squeeze: axesToInput,
    Unsqueeze: axesToInput,
  },
  14: { BatchNormalization: batchNormalization14 },
  16: {
    // Version 10 didn't shift the boxes by half a pixel.
    RoiAlign: (node) => {
      node.attributes.set("coordinate_transformation_mode", attr.string("output_half_pixel"));
    },
  },
  18: {
    ReduceL1: axesToInput,
    ReduceL2: axesToInput,
    ReduceLogSum: axesToInput,
    ReduceLogSumExp: axesToInput,
    ReduceMax: axesToInput,
    ReduceMean: axesToInput,
    ReduceMin: axesToInput,
    ReduceProd: axesToInput,
    ReduceSumSquare: axesToInput,
    // Without sizes the number of parts must be said.
    Split: (node) => {
      if (!node.inputs[1]) node.attributes.set("num_outputs", attr.int(node.outputs.length));
    },
  },
  20: {
    // An input instead of an attribute, and another default.
    DFT: (node, rewriter) => {
      node.setInput(2, constantFor(node, "axis", int64([], [node.int("axis", 1)]), rewriter));
      node.attributes.delete("axis");
    },
    GridSample: (node) => {
      const renamed: Readonly<Record<string, string>> = { bilinear: "linear", bicubic: "cubic" };
      const mode = node.string("mode", "bilinear");
      node.attributes.set("mode", attr.string(renamed[mode] ?? mode));
    },
  },
  21: { GroupNormalization: groupNormalization21 },
};
