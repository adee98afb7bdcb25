/**
 * @file Options at the door: checked once against a schema, with errors that name the option and the nearest known one. What comes out
 * goes through every further door as it is.
 */
import type { z } from "zod";
import { type ErrorCode, TersorError } from "./errors.ts";
import { nearestNames } from "./nearest.ts";

type Issue = z.core.$ZodIssue;

/** How messages name an option, from its path: `steps.1.quantize.dtype`, or `--dtype` on the command line. */
export type OptionNaming = (path: readonly PropertyKey[]) => string;

export const byPath: OptionNaming = (path) => `"${path.map(String).join(".")}"`;

export interface DoorOptions {
  /** How messages name options; by their path when absent. */
  readonly naming?: OptionNaming;
  /** Of the error; bad-recipe when absent. */
  readonly code?: ErrorCode;
}

/** Options that came out of a schema: they need not go through it again. */
const parsed = new WeakMap<object, z.ZodType>();

/**
 * The options, checked and with every default filled in; the same object when they came from here.
 * @throws TersorError naming every wrong option in one line; `subject` opens the message
 */
export function parseOptions<T>(
  schema: z.ZodType<T>,
  value: unknown,
  subject: string,
  { naming = byPath, code = "bad-recipe" }: DoorOptions = {},
): T {
  if (typeof value === "object" && value !== null && parsed.get(value) === schema) return value as T;
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return settled(schema, result.data);
  const texts = result.error.issues.map((issue) => describe(issue, schema, naming));
  throw new TersorError(code, `${subject}: ${[...new Set(texts)].join("; ")}.`, { cause: result.error });
}

/** The options of `schema` out of those of a schema that extends it, with `changes`: checked there, so not again. */
export function ownOptions<S extends z.ZodObject>(
  schema: S,
  options: Readonly<Record<string, unknown>>,
  changes: Partial<z.output<S>> = {},
): z.output<S> {
  const own = Object.keys(schema.shape).flatMap((key) => (key in options ? [[key, options[key]]] : []));
  return settled(schema, { ...Object.fromEntries(own), ...changes } as z.output<S>);
}

function settled<T>(schema: z.ZodType, options: T): T {
  if (typeof options === "object" && options !== null) parsed.set(options, schema);
  return options;
}

/** Options as they are written, with every default filled in: what manifests record. `value` is checked already. */
export function writtenOptions(schema: z.ZodObject, value: unknown): Record<string, unknown> {
  const given = value as Readonly<Record<string, unknown>>;
  const entries = Object.entries(schema.shape).map(([key, field]) => [key, given[key] ?? defaultOf(field)] as const);
  return Object.fromEntries(entries.flatMap(([key, option]) => (option === undefined ? [] : [[key, plain(option)]])));
}

/** What can be written as JSON; of anything else, such as samples or models in memory, that it was given in code. */
function plain(option: unknown): unknown {
  if (typeof option === "function") return IN_CODE;
  if (typeof option !== "object" || option === null) return option;
  if (Array.isArray(option))
    return option.length > 0 && option.every(isPlain) ? option : option.length > 0 ? IN_CODE : option;
  return isPlain(option) ? option : IN_CODE;
}

const IN_CODE = "(given in code)";

/** Whether all of a value is text, numbers, lists and plain objects. */
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return typeof value !== "function";
  const prototype: unknown = Object.getPrototypeOf(value);
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) return false;
  return Object.values(value).every(isPlain);
}

function defaultOf(field: z.core.$ZodType): unknown {
  return (field._zod.def as { defaultValue?: unknown }).defaultValue;
}

function describe(issue: Issue, schema: z.ZodType, naming: OptionNaming): string {
  const where = issue.path.length > 0 ? `${naming(issue.path)}: ` : "";
  if (issue.code === "unrecognized_keys") {
    const known = keysAt(schema, issue.path);
    return unknownOptions(issue.keys, known, naming)
      .map((text) => `${where}${text}`)
      .join("; ");
  }
  if (issue.code === "invalid_value") {
    const values = issue.values.map(String);
    const near = typeof issue.input === "string" ? nearestNames(issue.input, values, 1) : [];
    return `${where}expected ${listed(values)}, got ${shown(issue.input)}${near.length > 0 ? ` (did you mean ${near[0]}?)` : ""}`;
  }
  if (issue.code === "invalid_union") {
    const inner = issue.errors.flat().filter((each) => each.code !== "invalid_type" || each.path.length > 0);
    const [first] = inner;
    if (first) return describe({ ...first, path: [...issue.path, ...first.path] } as Issue, schema, naming);
    const kinds = issue.errors.flat().flatMap((each) => (each.code === "invalid_type" ? [each.expected] : []));
    const got =
      issue.input === undefined ? "nothing" : typeof issue.input === "object" ? "an object" : shown(issue.input);
    if (kinds.length > 0) return `${where}expected ${[...new Set(kinds)].join(" or ")}, got ${got}`;
  }
  const got = issue.input === undefined || typeof issue.input === "object" ? "" : `, got ${shown(issue.input)}`;
  const expected = issue.message.replace(/^Invalid input: /, "").replace(/, received .*$/, "");
  return `${where}${expected.charAt(0).toLowerCase()}${expected.slice(1)}${got}`;
}

/** A text for each key that is near to a known one; one for all others, with the known ones. */
function unknownOptions(keys: readonly string[], known: readonly string[], naming: OptionNaming): string[] {
  const named = keys.map((key) => ({ name: naming([key]), near: nearestNames(key, known) }));
  const strange = named.filter(({ near }) => near.length === 0).map(({ name }) => name);
  const texts = named
    .filter(({ near }) => near.length > 0)
    .map(({ name, near }) => `unknown option ${name} (did you mean ${near.join(", ")}?)`);
  if (strange.length === 0) return texts;
  const all = known.length > 0 ? ` (known: ${known.join(", ")})` : "";
  return [...texts, `unknown option${strange.length > 1 ? "s" : ""} ${strange.join(", ")}${all}`];
}

/** The keys of the object schema at a path, as far as it can be followed. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let current: unknown = schema;
  for (const key of [...path, undefined]) {
    current = unwrap(current);
    const { shape, element, options } = (current ?? {}) as {
      shape?: Readonly<Record<PropertyKey, unknown>>;
      element?: unknown;
      options?: readonly unknown[];
    };
    if (key === undefined) return shape ? Object.keys(shape) : [];
    const branch = options?.map(unwrap).find((option) => key in ((option as { shape?: object })?.shape ?? {}));
    current = shape?.[key] ?? element ?? (branch as { shape?: Readonly<Record<PropertyKey, unknown>> })?.shape?.[key];
  }
  return [];
}

/** The schema inside of optional, default, prefault and transformations. */
function unwrap(schema: unknown): unknown {
  let current = schema;
  while (typeof current === "object" && current !== null && "_zod" in current) {
    const { innerType, in: before } = (current as { _zod: { def: { innerType?: unknown; in?: unknown } } })._zod.def;
    const inner = innerType ?? before;
    if (inner === undefined) break;
    current = inner;
  }
  return current;
}

function listed(values: readonly string[]): string {
  return values.length === 1 ? String(values[0]) : `one of ${values.join(", ")}`;
}

function shown(value: unknown): string {
  return typeof value === "string" ? `"${value}"` : String(value);
}
