/** @file How parameters begin: seeded, by the usual rules. */
import { elementCount, fromNumbers, type Tensor } from "../tensor/tensor.ts";
import { Rng } from "../util/rng.ts";

/** Numbers that flow into one element of the output, and elements of the output that one input flows into. */
export interface Fans {
  readonly in: number;
  readonly out: number;
}

/** A distribution around 0: uniform within ± `bound`, or normal with deviation `std`; or one number for all. */
type Distribution = { readonly bound: number } | { readonly std: number } | { readonly all: number };

/** He et al. 2015, https://arxiv.org/abs/1502.01852, for what a ReLU follows: its gain is √2. */
const RELU_GAIN = Math.SQRT2;

/** Named rules; `default` is what PyTorch does for linear and convolution layers: ± 1 / √fan-in. */
export const initializers = {
  default: (fans) => ({ bound: 1 / Math.sqrt(fans.in) }),
  "kaiming-uniform": (fans) => ({ bound: RELU_GAIN * Math.sqrt(3 / fans.in) }),
  "kaiming-normal": (fans) => ({ std: RELU_GAIN / Math.sqrt(fans.in) }),
  // Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html
  "xavier-uniform": (fans) => ({ bound: Math.sqrt(6 / (fans.in + fans.out)) }),
  "xavier-normal": (fans) => ({ std: Math.sqrt(2 / (fans.in + fans.out)) }),
  normal: () => ({ std: 1 }),
  zeros: () => ({ all: 0 }),
  ones: () => ({ all: 1 }),
} as const satisfies Readonly<Record<string, (fans: Fans) => Distribution>>;

export type InitializerName = keyof typeof initializers;

/** A named rule, or the bound of a uniform or the deviation of a normal distribution. */
export type Init = InitializerName | Distribution;

/** A float32 tensor that depends on seed, name and rule alone. */
export function initialTensor(
  init: Init,
  { dims, fans, seed, name }: { dims: readonly number[]; fans: Fans; seed: number; name: string },
): Tensor {
  const rule: Distribution = typeof init === "string" ? initializers[init](fans) : init;
  const rng = new Rng(seed, name);
  const next = (): number => {
    if ("all" in rule) return rule.all;
    return "std" in rule ? rule.std * rng.normal() : rule.bound * (2 * rng.uniform() - 1);
  };
  return fromNumbers("float32", dims, Float64Array.from({ length: elementCount(dims) }, next));
}
