/** @file What a report of quantization claims, against the file: what is quantized is what it was to within a step, the rest to the bit. */
import { checkTable, type LayerClaim, type QuantizeSettings, type Say } from "./check-table.ts";
import { decodeAll } from "./decode.ts";
import { constantsOf, type FileTensor, isFloat, isSame, numbersOf, type OnnxFile, sizeOf } from "./read-onnx.ts";

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
