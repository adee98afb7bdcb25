/** @file Checks feeds and fetches before a native call, so that a wrong one is named instead of failing deep inside. */
import { byteSize } from "../tensor/dtype.ts";
import { elementCount, viewAs } from "../tensor/tensor.ts";
import { TersorError } from "../util/errors.ts";
import type { Feeds, IoInfo } from "./io.ts";
import type { HostTensor } from "./runtime.ts";
import type { SlotMap } from "./slots.ts";

/** @throws shape-mismatch for a feed that is missing, unknown, or not of its input's type and shape. */
export function checkFeeds(inputs: readonly IoInfo[], feeds: Feeds): void {
  for (const input of inputs) {
    const feed = Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined;
    if (!feed) throw mismatch(input, "no tensor is fed", `got feeds ${listOf(Object.keys(feeds))}`);
    checkFeed(input, feed);
  }
  const known = new Set(inputs.map((input) => input.name));
  for (const name of Object.keys(feeds))
    if (!known.has(name))
      throw new TersorError(
        "shape-mismatch",
        `feed "${name}": the model has no such input: expected ${inputs.map(describe).join(", ") || "no feeds"}. Remove it.`,
      );
}

/** The outputs to compute. @throws bad-data for a name that is not an output. */
export function checkFetches(outputs: readonly IoInfo[], fetches: readonly string[] | undefined): readonly string[] {
  const names = outputs.map((output) => output.name);
  for (const fetch of fetches ?? [])
    if (!names.includes(fetch))
      throw new TersorError("bad-data", `fetch "${fetch}": the model has no such output: expected ${listOf(names)}.`);
  return fetches ?? names;
}

/** The outputs to return, and those to put into slots; without `fetches`, all others are returned. @throws as {@link checkFetches}. */
export function splitFetches(
  outputs: readonly IoInfo[],
  fetches: readonly string[] | undefined,
  write: SlotMap,
): readonly [returned: readonly string[], written: readonly string[]] {
  const written = checkFetches(outputs, Object.keys(write));
  return [checkFetches(outputs, fetches).filter((name) => !written.includes(name)), written];
}

function checkFeed(input: IoInfo, feed: HostTensor): void {
  const { dtype, dims, data } = feed;
  const got = `got ${dtype} [${dims.join(", ")}]`;
  if (dtype !== input.dtype) throw mismatch(input, "wrong type", got);
  if (input.dims.length > 0 && dims.length !== input.dims.length) throw mismatch(input, "wrong rank", got);
  const wrong = input.dims.findIndex((dim, axis) => typeof dim === "number" && dim !== dims[axis]);
  if (wrong >= 0) throw mismatch(input, `wrong size of axis ${wrong}`, got);
  if (!dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) throw mismatch(input, "dims are not sizes", got);
  const count = elementCount(dims);
  if (dtype === "string") {
    if (!Array.isArray(data))
      throw mismatch(input, "data is not an array of strings", `${got} as ${data.constructor.name}`);
    if (data.length !== count)
      throw mismatch(input, `wrong number of strings for ${count}`, `${got} with ${data.length}`);
    return;
  }
  const View = viewAs(dtype, new Uint8Array(0)).constructor;
  if (Array.isArray(data) || !(data instanceof View))
    throw mismatch(input, `data is not a ${View.name}`, `${got} as ${data.constructor.name}`);
  const bytes = byteSize(dtype, count);
  if (data.byteLength !== bytes)
    throw mismatch(input, `data does not fill the dims (${bytes} bytes)`, `${got} with ${data.byteLength} bytes`);
}

function mismatch(input: IoInfo, problem: string, got: string): TersorError {
  return new TersorError("shape-mismatch", `input "${input.name}": ${problem}: expected ${typeOf(input)}, ${got}.`);
}

const typeOf = (info: IoInfo) => `${info.dtype} [${info.dims.map((dim) => dim ?? "?").join(", ")}]`;
const describe = (info: IoInfo) => `"${info.name}" ${typeOf(info)}`;
const listOf = (names: readonly string[]) => names.map((name) => `"${name}"`).join(", ") || "none";
