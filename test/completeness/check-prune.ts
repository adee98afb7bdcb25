/** @file What a report of pruning claims, against the file: sizes, zeros, patterns, what is a part of what it was, and what was solved anew. */
import { byName } from "./check-quantize.ts";
import {
  constantsOf,
  type FileNode,
  type FileTensor,
  isFloat,
  isSame,
  numbersOf,
  type OnnxFile,
  sizeOf,
} from "./read-onnx.ts";

export interface PruneClaims {
  readonly structure: string;
  readonly approach?: { readonly recover: string };
  readonly groups?: readonly {
    readonly name: string;
    readonly layers: readonly string[];
    readonly channels: number;
    readonly removed: number;
    readonly reason?: string;
  }[];
  readonly blocks?: readonly { readonly removed: boolean; readonly name: string }[];
  readonly unrecovered?: readonly { readonly layer: string; readonly reason: string }[];
  readonly kept?: readonly { readonly layer: string; readonly reason: string }[];
  readonly layers?: readonly {
    readonly name: string;
    readonly opType: string;
    readonly weight: string;
    readonly dims: readonly number[];
    readonly weights: number;
    readonly zeros: number;
    readonly reason?: string;
  }[];
  readonly params: { readonly before: number; readonly after: number };
  readonly removed?: number;
  readonly reached?: boolean;
}

export interface PruneSettings {
  readonly ratio?: number | undefined;
  readonly criterion?: string | undefined;
  readonly by: string;
}

export function checkPruned(
  before: OnnxFile,
  after: OnnxFile,
  claims: PruneClaims,
  settings: PruneSettings,
  plain?: OnnxFile,
): string[] {
  const faults: string[] = [];
  for (const [what, file] of [
    ["before", before],
    ["after", after],
  ] as const) {
    const params = constantsOf(file).reduce((sum, tensor) => sum + (isFloat(tensor) ? sizeOf(tensor.dims) : 0), 0);
    if (params !== claims.params[what]) faults.push(`params ${what}: ${claims.params[what]}, in the file ${params}`);
  }
  if (claims.layers) faults.push(...checkZeros(before, after, claims, settings));
  else {
    faults.push(...checkCut(before, plain ?? after, claims));
    faults.push(...checkChannels(before, after, claims, settings));
    if (plain) faults.push(...checkRecovery(before, after, claims, plain));
  }
  return faults;
}

/** Zeros in weights: as many as said, the rest to the bit. */
function checkZeros(
  before: OnnxFile,
  after: OnnxFile,
  claims: PruneClaims,
  { ratio, criterion }: PruneSettings,
): string[] {
  const faults: string[] = [];
  const [were, are] = [byName(before), byName(after)];
  const layers = claims.layers ?? [];
  const [, n, m] = /^(\d+):(\d+)$/.exec(claims.structure) ?? [];
  let [all, zeros] = [0, 0];
  for (const layer of layers) {
    const [was, is] = [were.get(layer.weight), are.get(layer.weight)];
    const say = (text: string) => faults.push(`layer "${layer.name}" (${layer.weight}): ${text}`);
    if (!was || !is) {
      say("there is no such constant");
      continue;
    }
    if (is.dims.join() !== layer.dims.join() || was.dims.join() !== layer.dims.join())
      say(`dims [${layer.dims}], in the file [${is.dims}]`);
    if (sizeOf(is.dims) !== layer.weights) say(`${layer.weights} weights, in the file ${sizeOf(is.dims)}`);
    const [old, now] = [numbersOf(was), numbersOf(is)];
    const count = now.filter((x) => x === 0).length;
    if (count !== layer.zeros) say(`${layer.zeros} zeros, in the file ${count}`);
    if (layer.reason) {
      if (!isSame(was, is)) say("said to be left alone, but is not what it was");
      continue;
    }
    all += now.length;
    zeros += count;
    const changed = now.findIndex((x, i) => x !== 0 && x !== old[i]);
    if (criterion !== "sparsegpt" && changed >= 0) say(`element ${changed} is ${now[changed]}, it was ${old[changed]}`);
    if (n && m) {
      const wrong = brokenPattern(is, axesOf(after, layer.weight), Number(n), Number(m));
      if (wrong !== undefined) say(`${wrong} of ${m} in a row are not zero`);
    }
  }
  if (
    ratio !== undefined &&
    claims.structure === "weights" &&
    all > 0 &&
    zeros < Math.floor(ratio * all) - all / 1000 - 64 * layers.length
  )
    faults.push(`${ratio} of the weights are to go, ${zeros} of ${all} are zero`);
  const names = new Set(layers.map(({ weight }) => weight));
  for (const [name, was] of were) {
    const is = are.get(name);
    if (!names.has(name) && isFloat(was) && (!is || !isSame(was, is)))
      faults.push(`"${name}" [${was.dims}] is not what it was, and is no layer's`);
  }
  return faults;
}

interface Axes {
  readonly out: number;
  readonly in: number;
}

/** By the operator that reads a weight: the axes of its outputs and inputs. */
function axesOf({ graphs }: OnnxFile, weight: string): Axes {
  const node = graphs.flatMap(({ nodes }) => nodes).find(({ inputs }) => inputs.includes(weight));
  return (node && weightAxes(node, weight)) ?? { out: 0, in: 1 };
}

function weightAxes({ opType, inputs, ints }: FileNode, weight: string): Axes | undefined {
  const at = inputs.indexOf(weight);
  const isFlipped = (at === 0) !== ((ints.get(at === 0 ? "transA" : "transB") ?? 0) === 1);
  if (opType === "Conv") return at === 1 ? { out: 0, in: 1 } : undefined;
  if (opType === "ConvTranspose") return at === 1 ? { out: 1, in: 0 } : undefined;
  if (opType === "Gemm") return at < 2 ? (isFlipped ? { out: 0, in: 1 } : { out: 1, in: 0 }) : undefined;
  if (opType === "MatMul") return at === 0 ? { out: -2, in: -1 } : { out: -1, in: -2 };
  if (opType === "LSTM" || opType === "GRU" || opType === "RNN")
    return at === 1 || at === 2 ? { out: 1, in: 2 } : undefined;
  return undefined;
}

/** How many of M inputs in a row are not zero, where those are more than N. */
function brokenPattern(tensor: FileTensor, axes: Axes, n: number, m: number): number | undefined {
  const values = numbersOf(tensor);
  const { dims } = tensor;
  const axis = (axes.in + dims.length) % dims.length;
  const inner = sizeOf(dims.slice(axis + 1));
  const length = dims[axis] as number;
  for (let outer = 0; outer < values.length / inner / length; outer++)
    for (let place = 0; place < inner; place++)
      for (let start = 0; start + m <= length; start += m) {
        let count = 0;
        for (let i = start; i < start + m; i++) if (values[(outer * length + i) * inner + place] !== 0) count++;
        if (count > n) return count;
      }
  return undefined;
}

/** Whatever is in the file after a cut is a part of what was there, in the same order; nothing was computed. */
function checkCut(before: OnnxFile, after: OnnxFile, { groups = [] }: PruneClaims): string[] {
  const faults: string[] = [];
  const [were, are] = [byName(before), byName(after)];
  const isCut = groups.some(({ removed }) => removed > 0);
  for (const [name, is] of are) {
    if (!isFloat(is) || sizeOf(is.dims) < 2) continue;
    const was = were.get(name);
    if (!was) {
      if (![...were.values()].some((each) => isPart(each, is))) faults.push(`"${name}" [${is.dims}] is new`);
    } else if (is.dims.join() === was.dims.join() ? !isSame(is, was) : !isPart(was, is))
      faults.push(`"${name}" [${was.dims}] → [${is.dims}] is no part of what it was`);
    else if (is.dims.join() !== was.dims.join() && groups.length > 0 && !isCut)
      faults.push(`"${name}" was cut, but no group lost a channel`);
  }
  return faults;
}

/** Whether a tensor is what stays of another when indices of its axes go: then its numbers are there in the same order. */
function isPart(whole: FileTensor, part: FileTensor): boolean {
  if (
    whole.dtype !== part.dtype ||
    whole.dims.length !== part.dims.length ||
    part.dims.some((dim, axis) => dim > (whole.dims[axis] as number))
  )
    return false;
  const [from, to] = [numbersOf(whole), numbersOf(part)];
  let at = 0;
  for (const x of to) {
    while (at < from.length && !Object.is(from[at], x)) at++;
    if (at++ >= from.length) return false;
  }
  return true;
}

interface Made {
  readonly name: string;
  readonly axis: number;
}

/** The constant whose axis counts the outputs of a node. */
function madeBy(file: OnnxFile, layer: string): Made | undefined {
  const node = file.graphs
    .flatMap(({ nodes }) => nodes)
    .find(({ name, outputs }) => name === layer || (!name && outputs[0] === layer));
  const constants = new Map(constantsOf(file).map((tensor) => [tensor.name, tensor]));
  for (const input of node?.inputs ?? []) {
    const tensor = constants.get(input);
    const axes = node && tensor && weightAxes(node, input);
    if (axes && tensor) return { name: input, axis: (axes.out + tensor.dims.length) % tensor.dims.length };
  }
  return undefined;
}

/** Channels that are said to be gone are: of every layer that makes them. */
function checkChannels(before: OnnxFile, after: OnnxFile, claims: PruneClaims, { ratio, by }: PruneSettings): string[] {
  const faults: string[] = [];
  const [were, are] = [byName(before), byName(after)];
  for (const { name, layers, channels, removed, reason } of claims.groups ?? []) {
    if (reason && removed > 0)
      faults.push(`group "${name}": left alone (${reason}), but ${removed} of ${channels} went`);
    for (const layer of layers) {
      const made = madeBy(before, layer);
      const [was, is] = [were.get(made?.name ?? ""), are.get(made?.name ?? "")];
      if (!made || !was || !is) continue;
      const [old, now] = [was.dims[made.axis] as number, is.dims[made.axis] as number];
      // A layer may make several groups' channels, and a channel may be several rows: gates, heads.
      const own = (claims.groups ?? []).filter((group) => group.layers.includes(layer));
      const total = own.reduce((sum, group) => sum + group.channels, 0);
      const gone = own.reduce((sum, group) => sum + group.removed, 0);
      const rows = old / total;
      const isWhole = Number.isInteger(rows) && own.length === 1;
      if (isWhole ? old - now !== gone * rows : gone === 0 ? old !== now : old === now)
        faults.push(
          `group "${name}": ${gone} of ${total} channels are said to be gone, "${made.name}" has ${now} of ${old}`,
        );
    }
  }
  const all = (claims.groups ?? []).reduce((sum, { channels, reason }) => sum + (reason ? 0 : channels), 0);
  const gone = (claims.groups ?? []).reduce((sum, { removed }) => sum + removed, 0);
  if (claims.groups && by === "channels" && claims.removed !== undefined && Math.abs(claims.removed * all - gone) > 1)
    faults.push(`removed ${claims.removed}, of the channels ${gone} of ${all} are`);
  const share = 1 - claims.params.after / claims.params.before;
  if (by === "params" && claims.removed !== undefined && Math.abs(claims.removed - share) > 0.02)
    faults.push(`removed ${claims.removed} of the parameters, in the file ${share}`);
  if (
    ratio !== undefined &&
    claims.removed !== undefined &&
    claims.reached === true &&
    claims.removed < ratio - 1e-9 - (all > 0 ? 1 / all : 0.01)
  )
    faults.push(`reached, but ${claims.removed} of ${ratio} was removed`);
  return faults;
}

/** What is said to be made up for differs from the plain cut, the rest is the plain cut. */
function checkRecovery(before: OnnxFile, after: OnnxFile, claims: PruneClaims, plain: OnnxFile): string[] {
  const faults: string[] = [];
  const [were, cut, solved] = [byName(before), byName(plain), byName(after)];
  const recover = claims.approach?.recover ?? "none";
  const unrecovered = new Set(claims.unrecovered?.map(({ layer }) => layer));
  const excused = new Set<string>();
  for (const node of plain.graphs.flatMap(({ nodes }) => nodes))
    for (const input of node.inputs) {
      const [was, own, now] = [were.get(input), cut.get(input), solved.get(input)];
      const axes = weightAxes(node, input);
      if (!axes || !was || !own || !now) continue;
      const axis = (axes.in + was.dims.length) % was.dims.length;
      const loses = was.dims[axis] !== own.dims[axis];
      const isAnew = !isSame(own, now);
      const layer = node.name || node.outputs[0] || "";
      if (loses && unrecovered.has(layer)) excused.add(layer);
      const isSaid = loses && recover === "least-squares" && !unrecovered.has(layer);
      if (isSaid && !isAnew) faults.push(`layer "${layer}": said to be solved anew, but "${input}" is the plain cut`);
      if (!isSaid && isAnew && !(recover === "least-squares" && loses))
        faults.push(`layer "${layer}": "${input}" is not the plain cut, and nothing says so`);
      if (isAnew && unrecovered.has(layer) && recover === "least-squares")
        faults.push(`layer "${layer}": said not to be made up for, but "${input}" was solved`);
    }
  const differ = [...solved].some(
    ([name, tensor]) => isFloat(tensor) && !(cut.has(name) && isSame(cut.get(name) as FileTensor, tensor)),
  );
  if (recover === "none" && differ)
    faults.push("nothing is said to make up for the cut, but constants differ from the plain one");
  for (const { layer, reason } of claims.unrecovered ?? [])
    if (!reason) faults.push(`layer "${layer}": not made up for, without a reason`);
  return faults;
}
