/** @file Sums of an integer layer as processors without VNNI take them: products in pairs, the pair kept in 16 bits. */
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { Rng } from "../../util/rng.ts";
import type { LayerSite } from "./sites.ts";

/** Rows of the product that are tried: positions of a convolution, rows of a matrix. */
const ROWS = 24;
const [LEAST, MOST] = [-32_768, 32_767];

/** Codes of one kind that can't leave 16 bits in pairs with uint8: 255 · 64 · 2. */
const SAFE = 64;

/** Whether some pair of the layer's products may leave 16 bits: int8 weights beyond ±64, of a layer that is not depthwise. */
export function isAtRisk({ weight, coded, layout, node }: LayerSite): boolean {
  if (weight?.codes.dtype !== "int8" || !coded || !layout) return false;
  const isDepthwise = node.int("group", 1) > 1 && weight.dims[1] === 1;
  const isByte = coded.codes === "dynamic" || coded.codes.dtype === "uint8" || coded.codes.dtype === "int8";
  return isByte && !isDepthwise && weight.codes.toNumbers().some((code) => Math.abs(code) > SAFE);
}

/**
 * Energy of what saturation takes from the layer's sums, divided by the sums' own, over a few rows of `input` [N, C, …]
 * or [.., K]. Neighbours are taken as kernels see them: channel by channel at each place of the window.
 */
export function saturationNoise(layer: LayerSite, input: HostTensor): number {
  const { weight, layout } = layer;
  if (!weight || !layout) return 0;
  const { read, zero } = encoder(layer, input.data as Float32Array);
  const weights = weight.codes.toNumbers();
  const zeros = weight.zeroPoints?.toNumbers() ?? [0];
  const patches = layer.opType === "Conv" ? windows(layer, input.dims) : rows(input.dims);
  const columns = columnsOf(layer);
  let [signal, noise] = [0, 0];
  for (const patch of patches)
    for (let o = 0; o < layout.outputs; o++) {
      const column = columns(o);
      const offset = zeros[zeros.length === 1 ? 0 : o] ?? 0;
      let [exact, clipped, kept] = [0, 0, 0];
      for (let k = 0; k < column.length; k += 2) {
        let pair = 0;
        for (let j = k; j < Math.min(k + 2, column.length); j++) {
          const at = patch(column[j] as Place);
          const x = at < 0 ? zero : read(at);
          const w = weights[(column[j] as Place).weight] as number;
          pair += x * w;
          kept += (x - zero) * (w - offset);
        }
        exact += pair;
        clipped += Math.min(MOST, Math.max(LEAST, pair));
      }
      signal += kept ** 2;
      noise += (exact - clipped) ** 2;
    }
  return signal > 0 ? noise / signal : 0;
}

/** An element of the weight, with the input channel and the place in the window that it meets. */
interface Place {
  readonly weight: number;
  readonly channel: number;
  readonly window: number;
}

/** Codes of the input from 0 to 255, as kernels see them. */
function encoder({ coded }: LayerSite, values: Float32Array): { read: (at: number) => number; zero: number } {
  const codes = coded?.codes;
  if (codes && codes !== "dynamic") {
    const { scale, zeroPoint, qmin } = codes;
    return {
      read: (at) => clamp(Math.round((values[at] as number) / scale) + zeroPoint - qmin),
      zero: zeroPoint - qmin,
    };
  }
  let [min, max] = [0, 0];
  for (const x of values) [min, max] = [Math.min(min, x), Math.max(max, x)];
  const scale = (max - min) / 255 || 1;
  const zero = clamp(Math.round(-min / scale));
  return { read: (at) => clamp(Math.round((values[at] as number) / scale) + zero), zero };
}

const clamp = (code: number) => Math.min(255, Math.max(0, code));

/** By output channel: its weights in the order in which a kernel sums them up. */
function columnsOf({ weight, layout, opType }: LayerSite): (output: number) => readonly Place[] {
  const dims = weight?.dims ?? [];
  const window = opType === "Conv" ? dims.slice(2).reduce((a, b) => a * b, 1) : 1;
  const columns: Place[][] = Array.from({ length: layout?.outputs ?? 0 }, () => []);
  const size = dims.reduce((a, b) => a * b, 1);
  for (let i = 0; i < size; i++)
    columns[layout?.output(i) ?? 0]?.push({ weight: i, channel: layout?.input(i) ?? 0, window: i % window });
  for (const column of columns) column.sort((a, b) => a.window - b.window || a.channel - b.channel);
  return (output) => columns[output] ?? [];
}

type Patch = (place: Place) => number;

function rows(dims: readonly number[]): Patch[] {
  const length = dims.at(-1) ?? 1;
  const count = dims.slice(0, -1).reduce((a, b) => a * b, 1);
  return chosen(count).map(
    (row) =>
      ({ channel }) =>
        row * length + channel,
  );
}

/** Windows of the first image at seeded places; −1 is padding. */
function windows({ node, weight }: LayerSite, dims: readonly number[]): Patch[] {
  const sizes = dims.slice(2);
  const kernel = weight?.dims.slice(2) ?? [];
  const strides = node.ints("strides") ?? kernel.map(() => 1);
  const dilations = node.ints("dilations") ?? kernel.map(() => 1);
  const pads = node.ints("pads") ?? [...kernel, ...kernel].map(() => 0);
  const isPadded = node.string("auto_pad", "NOTSET").startsWith("SAME");
  const begin = kernel.map((k, i) => (isPadded ? Math.floor((k - 1) / 2) : (pads[i] ?? 0)));
  const reach = kernel.map((k, i) => (k - 1) * (dilations[i] ?? 1) + 1);
  const places = sizes.map((size, i) => {
    const padded =
      size + (begin[i] ?? 0) + (isPadded ? (reach[i] ?? 1) - 1 - (begin[i] ?? 0) : (pads[kernel.length + i] ?? 0));
    return Math.max(1, Math.floor((padded - (reach[i] ?? 1)) / (strides[i] ?? 1)) + 1);
  });
  const plane = sizes.reduce((a, b) => a * b, 1);
  return chosen(places.reduce((a, b) => a * b, 1)).map((place) => {
    const corner = unravel(place, places).map((p, i) => p * (strides[i] ?? 1) - (begin[i] ?? 0));
    return ({ channel, window }) => {
      let at = 0;
      for (const [i, k] of unravel(window, kernel).entries()) {
        const x = (corner[i] ?? 0) + k * (dilations[i] ?? 1);
        if (x < 0 || x >= (sizes[i] ?? 1)) return -1;
        at = at * (sizes[i] ?? 1) + x;
      }
      return channel * plane + at;
    };
  });
}

function unravel(index: number, dims: readonly number[]): number[] {
  const result = new Array<number>(dims.length).fill(0);
  for (let i = dims.length - 1, rest = index; i >= 0; i--) {
    result[i] = rest % (dims[i] ?? 1);
    rest = Math.floor(rest / (dims[i] ?? 1));
  }
  return result;
}

function chosen(count: number): number[] {
  if (count <= ROWS) return Array.from({ length: count }, (_, i) => i);
  const rng = new Rng(0, "saturation");
  return Array.from({ length: ROWS }, () => Math.floor(rng.uniform() * count));
}
