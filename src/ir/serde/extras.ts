/**
 * @file What a file says of an attribute, a tensor or a type beyond what the IR holds: doc strings, denotations, fields of
 * newer versions. These objects are immutable, so that it can stand beside them; it goes with an object that an edit replaces.
 */
const extras = new WeakMap<object, object>();

/** Keeps the fields of `extra` that say something; gives `owner` back. */
export function withExtra<T extends object>(owner: T, extra: object): T {
  if (Object.values(extra).some((field) => field !== undefined && field !== "")) extras.set(owner, extra);
  return owner;
}

/** What was kept of an object; empty when it came from elsewhere. */
export function extraOf<T extends object>(owner: object): Partial<T> {
  return (extras.get(owner) ?? {}) as Partial<T>;
}
