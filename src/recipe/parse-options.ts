/** @file Checks options against a schema, with errors that name the option and what may have been meant. */
import type { z } from "zod";
import { TersorError } from "../util/errors.ts";
import { nearestNames } from "../util/nearest.ts";

type Issue = z.core.$ZodIssue;

/** How messages name an option, from its path: `steps.1.quantize.dtype`, or `--dtype` on the command line. */
export type OptionNaming = (path: readonly PropertyKey[]) => string;

const byPath: OptionNaming = (path) => `"${path.map(String).join(".")}"`;

/** The parsed options. @throws bad-recipe naming every wrong option in one line; `subject` opens the message. */
export function parseOptions<T>(
  schema: z.ZodType<T>,
  value: unknown,
  subject: string,
  naming: OptionNaming = byPath,
): T {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const texts = result.error.issues.map((issue) => describe(issue, schema, naming));
  throw new TersorError("bad-recipe", `${subject}: ${[...new Set(texts)].join("; ")}.`, { cause: result.error });
}

/**
 * Options as they are written, checked, with every default filled in: what steps are run with and manifests record.
 * @throws bad-recipe as {@link parseOptions}.
 */
export function resolveOptions(
  schema: z.ZodObject,
  value: unknown,
  subject: string,
  naming: OptionNaming = byPath,
): Record<string, unknown> {
  parseOptions(schema, value, subject, naming);
  const given = value as Readonly<Record<string, unknown>>;
  const entries = Object.entries(schema.shape).map(([key, field]) => [key, given[key] ?? defaultOf(field)] as const);
  return Object.fromEntries(entries.filter(([, option]) => option !== undefined));
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

/** The schema inside of optional, default and prefault. */
function unwrap(schema: unknown): unknown {
  let current = schema;
  while (typeof current === "object" && current !== null && "_zod" in current) {
    const { innerType } = (current as { _zod: { def: { innerType?: unknown } } })._zod.def;
    if (innerType === undefined) break;
    current = innerType;
  }
  return current;
}

function listed(values: readonly string[]): string {
  return values.length === 1 ? String(values[0]) : `one of ${values.join(", ")}`;
}

function shown(value: unknown): string {
  return typeof value === "string" ? `"${value}"` : String(value);
}
