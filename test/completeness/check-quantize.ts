/** @file What a report of quantization claims, against the file: what is quantized is what it was to within a step, the rest to the bit. */
import { type Decoded, decodeAll, turned } from "./decode.ts";
import { constantsOf, type FileTensor, isFloat, isSame, numbersOf, type OnnxFile, sizeOf } from "./read-onnx.ts";

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

export interface QuantizeClaims {
  readonly layers: readonly LayerClaim[];
  readonly left: readonly {
    readonly weight: string;
    readonly dtype: string;
    readonly dims: readonly number[];
    readonly bytes: number;
    readonly readers: readonly unknown[];
    readonly reason: string;
  }[];
  readonly rewritten: readonly { readonly weight: string; readonly dims: readonly number[]; readonly as?: string }[];
  readonly skipped: readonly { readonly name: string; readonly opType: string; readonly reason: string }[];
}

export interface QuantizeSettings {
  readonly minElements: number;
  /** The weights were made to suit before they were rounded: by scales of outliers, learned, or corrected by data. */
  readonly isMoved: boolean;
  /** Rounding is learned or made up for: any code next to a weight will do. */
  readonly isLearned: boolean;
}

/** Constants by name; the second of a name is `name#2`. */
export function byName(file: OnnxFile): Map<string, FileTensor> {
  const counts = new Map<string, number>();
  return new Map(
    constantsOf(file).map((tensor) => {
      const count = (counts.get(tensor.name) ?? 0) + 1;
      counts.set(tensor.name, count);
      return [count === 1 ? tensor.name : `${tensor.name}#${count}`, tensor];
    }),
  );
}

export function checkQuantized(
  before: OnnxFile,
  after: OnnxFile,
  claims: QuantizeClaims,
  settings: QuantizeSettings,
): string[] {
  const faults: string[] = [];
  const [were, are] = [byName(before), byName(after)];
  const tables = decodeAll(after);
  const quantized = claims.layers.filter(({ status }) => status === "quantized");
  const claimed = new Map(quantized.map((layer) => [layer.weight, layer]));
  const rewritten = new Map(claims.rewritten.map((each) => [each.weight, each]));
  const listed = new Map(claims.left.map((each) => [each.weight, each]));
  // The longest name of a constant that it begins with: `w_bias_scale` belongs to `w_bias` where there is one.
  const ownerOf = (name: string) => {
    let best: string | undefined;
    for (const weight of were.keys())
      if ((name === weight || name.startsWith(`${weight}_`)) && weight.length > (best?.length ?? -1)) best = weight;
    return best !== undefined && claimed.has(best) ? best : undefined;
  };
  const explained = new Set<FileTensor>();
  for (const layer of quantized) {
    const original = were.get(layer.weight);
    const say = (text: string) => faults.push(`layer "${layer.name}" (${layer.weight}): ${text}`);
    if (!original) {
      say("there is no such constant in the model that was given");
      continue;
    }
    if (original.dims.join() !== layer.dims.join()) say(`dims [${layer.dims}], in the file [${original.dims}]`);
    if (original.raw.byteLength !== layer.bytesBefore)
      say(`bytesBefore ${layer.bytesBefore}, ${original.raw.byteLength}`);
    const own = tables.filter(({ codes }) => !were.has(codes.name) && ownerOf(codes.name) === layer.weight);
    const halves = [...are.values()].filter(
      (tensor) =>
        /^b?float16$/.test(tensor.dtype) &&
        ownerOf(tensor.name) === layer.weight &&
        sizeOf(tensor.dims) === sizeOf(layer.dims),
    );
    const still = are.get(layer.weight);
    const isHalf = /^b?float16/.test(layer.spec ?? "");
    if (still && isSame(still, original) && !(isHalf && halves.length > 0) && !layer.reason)
      say("it is float as before, to the bit");
    if (isHalf) {
      for (const tensor of halves) explained.add(tensor);
      checkHalves(layer, original, halves, still, say);
    } else {
      if (own.length === 0) say("no operator reads codes of it");
      const sources = new Set(own.flatMap((table) => [...table.sources]));
      for (const tensor of sources) explained.add(tensor);
      for (const table of own) checkTable(layer, original, table, settings, say);
      const bytes = [...sources].reduce((sum, { raw }) => sum + raw.byteLength, 0);
      if (own.length > 0)
        checkBytes(layer, bytes, [...sources], still && isSame(still, original) ? still.raw.byteLength : 0, say);
    }
  }
  for (const { weight, name, reason, status, bytesBefore, bytesAfter } of claims.layers) {
    if (status !== "kept") continue;
    const [was, is] = [were.get(weight), are.get(weight)];
    if (!reason) faults.push(`layer "${name}" (${weight}): kept without a reason`);
    if (bytesBefore !== bytesAfter)
      faults.push(`layer "${name}" (${weight}): kept, but ${bytesBefore} → ${bytesAfter} bytes`);
    if (was && (!is || !isSame(was, is)) && !settings.isMoved)
      faults.push(`layer "${name}" (${weight}): said to be kept, but is not what it was`);
  }
  for (const { weight, dtype, dims, bytes, readers, reason } of claims.left) {
    const [was, is] = [were.get(weight), are.get(weight)];
    // Numbers in attributes, sparse ones and those of functions are no constants of the graph.
    if (!is) continue;
    if (is.dtype !== dtype || is.dims.join() !== dims.join() || is.raw.byteLength !== bytes)
      faults.push(
        `left "${weight}": ${dtype} [${dims}] of ${bytes} bytes, in the file ${is.dtype} [${is.dims}] of ${is.raw.byteLength}`,
      );
    if (!reason || (readers.length === 0 && !/nothing reads/.test(reason)))
      faults.push(`left "${weight}": no reason, or no reader`);
    if (was && !isSame(was, is) && !settings.isMoved)
      faults.push(`left "${weight}": said to be left, but is not what it was`);
  }
  for (const [name, was] of were) {
    if (!isFloat(was)) continue;
    const is = are.get(name);
    const isLarge = sizeOf(was.dims) >= settings.minElements;
    if (claimed.has(name)) continue;
    const rewrite = rewritten.get(name);
    if (rewrite) {
      if (is && isSame(was, is)) faults.push(`rewritten "${name}": it is what it was`);
      const now = [...are.values()].find(
        (tensor) =>
          tensor.dtype === rewrite.as &&
          (tensor.name === name || tensor.name.startsWith(`${name}_`)) &&
          sizeOf(tensor.dims) === sizeOf(was.dims),
      );
      if (rewrite.as && !now) faults.push(`rewritten "${name}": no constant of it is ${rewrite.as}`);
      continue;
    }
    if (!is) faults.push(`"${name}" [${was.dims}] is gone, and nothing says so`);
    else if (!isSame(was, is) && !settings.isMoved)
      faults.push(`"${name}" [${was.dims}] changed (${was.dtype} → ${is.dtype}), and nothing says so`);
    else if (isLarge && !listed.has(name)) faults.push(`"${name}" [${was.dims}] stays float and is not listed`);
  }
  for (const [name, is] of are) {
    if (were.has(name) || !isFloat(is) || sizeOf(is.dims) < Math.max(2, settings.minElements) || explained.has(is))
      continue;
    const of = claims.rewritten.some(({ weight }) => name.startsWith(`${weight}_`));
    if (!of && ownerOf(name) === undefined && !settings.isMoved)
      faults.push(`"${name}" [${is.dims}] is new and float, and nothing says so`);
  }
  return faults;
}

type Say = (text: string) => void;

function checkBytes(
  { bytesAfter, weight }: LayerClaim,
  bytes: number,
  sources: readonly FileTensor[],
  float: number,
  say: Say,
): void {
  // Scales and zero points that several layers share are counted with none or each of them.
  const own = sources
    .filter(({ name }) => name === weight || name.startsWith(`${weight}_`))
    .reduce((sum, { raw }) => sum + raw.byteLength, 0);
  if (![bytes, own, bytes + float, own + float].includes(bytesAfter))
    say(`bytesAfter ${bytesAfter}, in the file ${bytes}`);
}

function checkHalves(
  { spec, bytesAfter }: LayerClaim,
  original: FileTensor,
  halves: readonly FileTensor[],
  still: FileTensor | undefined,
  say: Say,
): void {
  if (halves.length === 0) {
    say(`said to be ${spec}, but no constant of it is`);
    return;
  }
  const was = numbersOf(original);
  for (const tensor of halves) {
    if (!spec?.startsWith(tensor.dtype)) say(`said to be ${spec}, in the file ${tensor.dtype}`);
    const fraction = tensor.dtype === "float16" ? 2 ** -11 : 2 ** -8;
    const floor = tensor.dtype === "float16" ? 2 ** -25 : 2 ** -134;
    const is = numbersOf(tensor);
    const wrong = was.findIndex((x, i) => {
      const y = is[i] as number;
      if (x === y || (Number.isNaN(x) && Number.isNaN(y))) return false;
      if (tensor.dtype === "float16" && Math.abs(x) >= 65504) return Math.abs(y) !== 65504;
      return !(Math.abs(x - y) <= Math.abs(x) * fraction + floor);
    });
    if (wrong >= 0) say(`element ${wrong} is ${is[wrong]}, it was ${was[wrong]}`);
  }
  const isKeptToo = still?.dtype === original.dtype ? still.raw.byteLength : 0;
  const bytes = halves.reduce((sum, { raw }) => sum + raw.byteLength, 0) + isKeptToo;
  if (bytes !== bytesAfter) say(`bytesAfter ${bytesAfter}, in the file ${bytes}`);
}

/** What a spec says: `int8 (7 bits) channel asymmetric mse gptq`, `codebook of 256`. */
function parseSpec(spec: string) {
  const words = spec.replace(/\((\d) bits\)/, "bits:$1").split(" ");
  const [dtype = ""] = words;
  const [, narrow] = words.find((word) => word.startsWith("bits:"))?.split(":") ?? [];
  const granularity = words.find((word) => /^(model|tensor|channel|group:\d+)$/.test(word));
  const isPlain = !words.some((word) => /^(mse|percentile.*|stochastic|hqq|gptq|awq|half-up)$/.test(word));
  const isClipped = words.some((word) => /^(mse|percentile.*)$/.test(word));
  const isRounded = !words.some((word) => /^(stochastic|hqq|gptq|awq)$/.test(word));
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

function checkTable(
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
  const { isClipped, isRounded, bits } = parseSpec(spec);
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
      isRounded: isRounded && table.by !== "Codebook",
      bits,
      isLearned: settings.isLearned,
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
  let [signal, noise, grain] = [0, 0, 0];
  for (let i = 0; i < was.length; i++) {
    signal += (was[i] as number) ** 2;
    noise += ((was[i] as number) - (values[i] as number)) ** 2;
    grain += (steps[i] as number) ** 2;
  }
  // Methods that look at data may round either way, and further where it does not matter.
  if (noise <= Math.max(by === "Codebook" ? signal / 20 : 4 * grain, 0) && noise <= signal) return undefined;
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
