/** @file Shape rules: operators of com.microsoft that belong to no other family. */
import { addDims, floorDivideDims, multiplyDims, subtractDims } from "../symbolic/dim.ts";
import { type ShapeRule, type ShapeRules, withDim } from "./call.ts";
import { broadcastAll, likeFirst } from "./elementwise.ts";
import { pad } from "./window.ts";

const sameAsFirst =
  `BiasAdd BiasGelu BiasSoftmax FastGelu GatedAdd GatedRMSNorm Gelu GroupNorm Inverse MoE QMoE QuickGelu
  SampleOp Trilu EngramGate`.split(/\s+/);

/** Real to complex along the last dim: [..., n] → [..., n/2 + 1, 2] when one-sided. */
const rfft: ShapeRule = (call) => {
  const shape = call.shape(0);
  const n = shape?.at(-1) ?? null;
  const bins = call.flag("onesided", true) ? addDims(floorDivideDims(n, 2), 1) : n;
  return [call.out(shape && [...shape.slice(0, -1), bins, 2])];
};

const irfft: ShapeRule = (call) => {
  const shape = call.shape(0);
  const bins = shape?.at(-2) ?? null;
  const n = call.flag("onesided", true) ? multiplyDims(2, subtractDims(bins, 1)) : bins;
  return [call.out(shape && [...shape.slice(0, -2), n])];
};

/** Windows of `size` every `step` along a dim; the window is a new last dim. */
const unfold: ShapeRule = (call) => {
  const shape = call.shape(0);
  if (!shape) return [call.out(undefined)];
  const axis = call.axis(call.int("dim", -1), shape.length);
  const size = call.int("size", 1);
  const count = addDims(floorDivideDims(subtractDims(shape[axis] ?? null, size), call.int("step", 1)), 1);
  return [call.out([...withDim(shape, axis, count), size])];
};

const expandDims: ShapeRule = (call) => {
  const shape = call.shape(0);
  const axis = call.scalar(1);
  if (!shape || typeof axis !== "number") return [call.out(undefined)];
  const at = call.axis(axis, shape.length, 1);
  return [call.out([...shape.slice(0, at), 1, ...shape.slice(at)])];
};

export const contrib: ShapeRules = {
  ...Object.fromEntries(sameAsFirst.map((name) => [name, likeFirst])),
  BiasSplitGelu: (call) => {
    const shape = call.shape(0);
    return [call.out(shape && [...shape.slice(0, -1), floorDivideDims(shape.at(-1) ?? null, 2)])];
  },
  BiasDropout: (call) => call.outs(call.shape(0), call.shape(0)),
  SkipGroupNorm: (call) => call.outs(call.shape(0), call.shape(0)),
  ComplexMul: broadcastAll,
  ComplexMulConj: broadcastAll,
  CDist: (call) => [call.out([call.shape(0)?.[0] ?? null, call.shape(1)?.[0] ?? null])],
  ExpandDims: expandDims,
  IsAllFinite: (call) => [call.out([])],
  MurmurHash3: (call) => [call.out(call.shape(0), call.flag("positive", true) ? "uint32" : "int32")],
  NGramRepeatBlock: (call) => [call.out(call.shape(1))],
  Pad: pad,
  Rfft: rfft,
  Irfft: irfft,
  UnfoldTensor: unfold,
  Tokenizer: (call) => {
    const shape = call.shape(0);
    return [call.out(shape && [...shape, null])];
  },
};
