/** @file One table of codes against the weight it stands for: type, scales and zero points as said, numbers within a step. */
import { type Decoded, turned } from "./decode.ts";
import { type FileTensor, numbersOf, sizeOf } from "./read-onnx.ts";

/** A layer as the manifest has it. */
export interface LayerClaim {
  readonly name: string;
  readonly opType: string;
  readonly weight: string;
  readonly dims: readonly number[];
  readonly status: "quantized" | "kept";
  readonly reason?: string;
  readonly spec?: string;
  readonly format?: string;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface QuantizeSettings {
  readonly minElements: number;
  /** The weights were made to suit before they were rounded: by scales of outliers, learned, or corrected by data. */
  readonly isMoved: boolean;
  /** Rounding is learned or made up for: any code next to a weight will do. */
  readonly isLearned: boolean;
  /** Weights are rounded that make up for the layers before them: they are near what they were, not next to it. */
  readonly isCorrected: boolean;
}

export type Say = (text: string) => void;

/** What a spec says: `int8 (7 bits) channel asymmetric mse gptq`, `codebook of 256`. */
function parseSpec(spec: string) {
  const words = spec.replace(/\((\d) bits\)/, "bits:$1").split(" ");
  const [dtype = ""] = words;
  const [, narrow] = words.find((word) => word.startsWith("bits:"))?.split(":") ?? [];
  const granularity = words.find((word) => /^(model|tensor|channel|group:\d+)$/.test(word));
  const isPlain = !words.some((word) => /^(mse|percentile.*|stochastic|hqq|gptq|awq|half-up)$/.test(word));
  const isClipped = words.some((word) => /^(mse|percentile.*)$/.test(word));
  const isRounded = !words.some((word) => /^(hqq|gptq|awq)$/.test(word));
  return {
    dtype,
    granularity,
    isPlain,
    isClipped,
    isRounded,
    bits: Number(narrow ?? /\d+$/.exec(dtype)?.[0] ?? 8),
    words,
  };
}

export function checkTable(
  layer: LayerClaim,
  original: FileTensor,
  table: Decoded,
  settings: QuantizeSettings,
  say: Say,
): void {
  const { spec = "", format = "" } = layer;
  const was = numbersOf(original);
  if (table.values.length !== was.length) {
    say(`${table.by} decodes [${table.dims}], the weight is [${original.dims}]`);
    return;
  }
  if (spec.startsWith("codebook")) {
    if (table.by !== "Codebook") say(`said to be a codebook, but ${table.by} reads it`);
    if (Number(spec.split(" ")[2]) !== table.scales) say(`${spec}, in the file ${table.scales} values`);
  } else checkSpec(layer, original, table, say);
  if (format === "" || spec === "") say("quantized without a spec or a format");
  const { isClipped, isRounded, bits, words } = parseSpec(spec);
  const rank = table.dims.length;
  const exchanged = [...Array(Math.max(0, rank - 2)).keys(), rank - 1, rank - 2];
  const straight = table.dims.join() === original.dims.join() ? [table] : [];
  const other = rank >= 2 ? turned(table.dims, table.values, exchanged) : undefined;
  const crossed =
    other && other.dims.join() === original.dims.join()
      ? [{ ...table, values: other.values, steps: turned(table.dims, table.steps, exchanged).values }]
      : [];
  const ways = [...straight, ...crossed];
  if (ways.length === 0) say(`${table.by} decodes [${table.dims}], the weight is [${original.dims}]`);
  if (ways.length === 0 || settings.isMoved) return;
  const errors = ways.map((way) =>
    worst(was, way, {
      isClipped,
      isRounded: isRounded && table.by !== "Codebook" && !settings.isCorrected,
      bits,
      isLearned: settings.isLearned || words.includes("stochastic"),
    }),
  );
  if (errors.every((error) => error !== undefined)) say(`${table.by}: ${errors[0]}`);
}

/** The first element that is not what it was; undefined where all are. */
function worst(
  was: Float64Array,
  { values, steps, by }: Decoded,
  {
    isClipped,
    isRounded,
    bits,
    isLearned,
  }: { isClipped: boolean; isRounded: boolean; bits: number; isLearned: boolean },
): string | undefined {
  if (isRounded) {
    let [least, most] = [0, 0];
    for (const y of values) [least, most] = [Math.min(least, y), Math.max(most, y)];
    const wrong = was.findIndex((x, i) => {
      const [y, step] = [values[i] as number, steps[i] as number];
      if (Math.abs(x - y) <= step * (isLearned ? 1 : 0.5) * (1 + 1e-4) + 1e-12) return false;
      // A signed range has one code more on one side: on the other the last one may be up to a step away.
      const isLast = Math.abs(y) >= step * (2 ** (bits - 1) - 1.001) && Math.abs(x - y) <= step * (1 + 1e-4);
      // The range may be smaller than the weights: what is outside is the last code.
      return !(isLast || isClipped || isLearned) || !(Math.sign(x) === Math.sign(y) && Math.abs(y) < Math.abs(x));
    });
    return wrong < 0
      ? undefined
      : `element ${wrong} is ${values[wrong]} in steps of ${steps[wrong]}, it was ${was[wrong]}`;
  }
  let [signal, noise, grain, product] = [0, 0, 0, 0];
  for (let i = 0; i < was.length; i++) {
    const [x, y] = [was[i] as number, values[i] as number];
    // The range may be smaller than the weights: what is outside is the last code.
    if (isClipped && Math.sign(x) === Math.sign(y) && Math.abs(y) < Math.abs(x) - (steps[i] as number)) continue;
    signal += x ** 2;
    noise += (x - y) ** 2;
    grain += (steps[i] as number) ** 2;
    product += x * y;
  }
  // A step for the whole model may be larger than all weights of a layer: each is zero then.
  const isZeroed = (x: number, i: number) => values[i] === 0 && Math.abs(x) <= (steps[i] as number);
  if (was.every(isZeroed)) return undefined;
  // Methods that look at data may round either way, and further where it does not matter.
  if (by === "Codebook" ? noise <= signal / 20 : noise <= 4 * grain && product > 0) return undefined;
  return `the error is ${(Math.sqrt(noise / signal) * 100).toFixed(1)} % of the weight`;
}

function checkSpec({ spec = "", format = "", dims }: LayerClaim, original: FileTensor, table: Decoded, say: Say): void {
  const { dtype, granularity, bits, words } = parseSpec(spec);
  const isPacked = table.by === "MatMulNBits" || table.by === "GatherBlockQuantized";
  const stored = isPacked ? `${table.bits} bits` : table.codes.dtype;
  if (isPacked ? table.bits !== bits : table.codes.dtype !== dtype) say(`said to be ${spec}, in the file ${stored}`);
  const reads = format.replace("Gather+", "");
  const also: readonly string[] = ["DequantizeLinear", "Gather", "MatMulNBits"];
  if (table.by !== reads && !also.includes(table.by)) say(`said to be read by ${format}, but ${table.by} reads it`);
  const [, group] = granularity?.split(":") ?? [];
  const size = sizeOf(original.dims);
  if (
    (granularity === "tensor" || granularity === "model") &&
    table.scales > (dims.length === 3 ? (dims[0] as number) : 1)
  )
    say(`said to have one scale (${spec}), in the file ${table.scales}`);
  const rows = (axis: number) => dims[axis] as number;
  const perChannel = new Set([
    ...dims,
    rows(0) * rows(1),
    sizeOf(dims.slice(0, -1)),
    sizeOf(dims) / Math.max(1, rows(dims.length - 2)),
  ]);
  if (granularity === "channel" && (!perChannel.has(table.scales) || (table.scales === 1 && !dims.includes(1))))
    say(`said to have scales per channel (${spec}), in the file ${table.scales}`);
  if (
    group &&
    !dims.some(
      (length, axis) =>
        table.scales === (size / length) * Math.ceil(length / Number(group)) ||
        table.scales === sizeOf(dims.slice(0, axis)) * Math.ceil(sizeOf(dims.slice(axis)) / Number(group)),
    )
  )
    say(`said to have scales per ${granularity}, in the file ${table.scales}`);
  const middle = dtype.startsWith("int") && !isPacked ? 0 : 2 ** (bits - 1);
  if (words.includes("asymmetric") ? false : dtype.startsWith("int") && table.zeroPoints.some((z) => z !== middle))
    say(`said to be symmetric (${spec}), in the file zero points ${table.zeroPoints.slice(0, 3)}`);
}
