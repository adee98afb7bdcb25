/** @file Elements of small tensors through arithmetic, comparison and logic, with symbols where sizes are not fixed. */
import type { Dim } from "../../ir/types.ts";
import { dtypeInfo } from "../../tensor/dtype.ts";
import type { Call, Contents } from "../shapes/call.ts";
import {
  addDims,
  atLeast,
  ceilDim,
  divideDims,
  floorDim,
  floorDivideDims,
  maxDim,
  minDim,
  multiplyDims,
  sameDim,
  subtractDims,
} from "../symbolic/dim.ts";
import type { ContentRule, ContentRules } from "./rule.ts";
import { at, build, contentsOf, converted, fitted } from "./tensor.ts";

/** One element of the output from the elements of all inputs, broadcast. */
function elementwise(compute: (values: readonly Dim[], call: Call) => Dim): ContentRule {
  return (call, [type]) => {
    if (!type || call.contents.length === 0) return [];
    const inputs = call.contents.filter((contents) => contents !== undefined);
    const dims = type.dims ?? broadcastDims(inputs);
    if (inputs.length < call.node.inputs.length || !dims) return [];
    const values = build(dims, (index) =>
      fitted(
        type.dtype,
        compute(
          inputs.map((contents) => at(contents, index)),
          call,
        ),
      ),
    );
    return [values && contentsOf(type.dtype, dims, values)];
  };
}

function broadcastDims(inputs: readonly Contents[]): number[] | undefined {
  const rank = Math.max(0, ...inputs.map(({ dims }) => dims.length));
  return Array.from({ length: rank }, (_, i) =>
    inputs.reduce((size, { dims }) => {
      const dim = dims[i - rank + dims.length] ?? 1;
      return dim === 1 ? size : dim;
    }, 1),
  );
}

const unary = (compute: (a: Dim) => Dim): ContentRule => elementwise(([a = null]) => compute(a));
const binary = (compute: (a: Dim, b: Dim, call: Call) => Dim): ContentRule =>
  elementwise(([a = null, b = null], call) => compute(a, b, call));
const variadic = (compute: (a: Dim, b: Dim) => Dim): ContentRule => elementwise((values) => values.reduce(compute));
/** Of numbers only. */
const numeric = (compute: (...values: number[]) => number): ContentRule =>
  elementwise((values) => (values.every((value) => typeof value === "number") ? finite(compute(...values)) : null));

function finite(value: number): Dim {
  return Number.isFinite(value) ? value : null;
}

function isFloat(call: Call): boolean {
  const dtype = call.dtype(0);
  return dtype !== undefined && dtypeInfo(dtype).kind === "float";
}

/** Integers are cut off towards zero. A symbolic numerator that can't be positive is negated first, any other floored. */
function divided(a: Dim, b: Dim, call: Call): Dim {
  if (isFloat(call)) return divideDims(a, b);
  if (typeof a === "number" && typeof b === "number") return b === 0 ? null : Math.trunc(a / b);
  if (atLeast(0, a)) return multiplyDims(-1, floorDivideDims(multiplyDims(-1, a), b));
  return floorDivideDims(a, b);
}

/** The remainder has the divisor's sign, or with fmod the dividend's. */
function remainder(a: Dim, b: Dim, call: Call): Dim {
  if (b === 0) return null;
  if (call.flag("fmod")) return typeof a === "number" && typeof b === "number" ? a % b : null;
  return subtractDims(a, multiplyDims(b, floorDivideDims(a, b)));
}

/** 1 or 0 where certain. */
function less(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a < b ? 1 : 0;
  if (atLeast(b, addDims(a, 1))) return 1;
  return atLeast(a, b) ? 0 : null;
}

function equal(a: Dim, b: Dim): Dim {
  if (sameDim(a, b)) return 1;
  if (typeof a === "number" && typeof b === "number") return 0;
  return less(a, b) === 1 || less(b, a) === 1 ? 0 : null;
}

const not = (a: Dim): Dim => (typeof a === "number" ? 1 - a : null);
/** One certain operand may decide. */
const and = (a: Dim, b: Dim): Dim => (a === 0 || b === 0 ? 0 : a === 1 && b === 1 ? 1 : null);

/** To even where halfway. */
function roundEven(x: number): number {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

const castTo: ContentRule = (call, [type]) => {
  const [input] = call.contents;
  if (!input || !type) return [];
  return [
    contentsOf(
      type.dtype,
      input.dims,
      input.values.map((value) => converted(input.dtype, type.dtype, value)),
    ),
  ];
};

const clip: ContentRule = (call, [type]) => {
  const [input] = call.contents;
  if (!input || !type || (call.has(1) && !call.contents[1]) || (call.has(2) && !call.contents[2])) return [];
  const low = call.has(1) ? call.scalar(1) : (call.node.float("min") ?? Number.NEGATIVE_INFINITY);
  const high = call.has(2) ? call.scalar(2) : (call.node.float("max") ?? Number.POSITIVE_INFINITY);
  const bounded = (value: Dim): Dim => {
    const raised = low === Number.NEGATIVE_INFINITY ? value : maxDim(value, low);
    return high === Number.POSITIVE_INFINITY ? raised : minDim(raised, high);
  };
  return [contentsOf(type.dtype, input.dims, input.values.map(bounded))];
};

export const arithmetic: ContentRules = {
  Add: binary(addDims),
  Sub: binary(subtractDims),
  Mul: binary(multiplyDims),
  Div: binary(divided),
  Mod: binary(remainder),
  Pow: elementwise(([a = null, b = null]) => power(a, b)),
  Sum: variadic(addDims),
  Min: variadic(minDim),
  Max: variadic(maxDim),
  Neg: unary((a) => multiplyDims(-1, a)),
  Abs: unary((a) => (typeof a === "number" ? Math.abs(a) : atLeast(a, 0) ? a : null)),
  Sign: unary((a) => (typeof a === "number" ? Math.sign(a) : atLeast(a, 1) ? 1 : null)),
  Relu: unary((a) => maxDim(a, 0)),
  Floor: unary(floorDim),
  Ceil: unary(ceilDim),
  Round: numeric(roundEven),
  Sqrt: numeric(Math.sqrt),
  Reciprocal: numeric((x) => 1 / x),
  Equal: binary(equal),
  Less: binary(less),
  Greater: binary((a, b) => less(b, a)),
  LessOrEqual: binary((a, b) => not(less(b, a))),
  GreaterOrEqual: binary((a, b) => not(less(a, b))),
  Not: unary(not),
  And: binary(and),
  Or: binary((a, b) => not(and(not(a), not(b)))),
  Xor: binary((a, b) => (typeof a === "number" && typeof b === "number" ? a ^ b : null)),
  Where: elementwise(([condition = null, a = null, b = null]) => {
    if (condition === null) return sameDim(a, b) ? a : null;
    return condition === 0 ? b : a;
  }),
  Cast: castTo,
  CastLike: castTo,
  Clip: clip,
};

function power(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number")
    return Number.isInteger(a) && Number.isInteger(b) ? finite(a ** b) : null;
  return b === 1 ? a : b === 2 ? multiplyDims(a, a) : null;
}
