/** @file Records whose keys come from files: "constructor" and "__proto__" are names like any other. */

/** What a record itself holds under a name. Objects also answer for what all of them inherit. */
export function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
