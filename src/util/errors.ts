/** @file The one error class of Tersor. */

/** What went wrong, as a stable code: the command line turns it into an exit code, a library user switches on it. */
export type ErrorCode =
  | "bad-model"
  | "bad-recipe"
  | "bad-data"
  | "unsupported-op"
  | "shape-mismatch"
  | "limit-exceeded"
  | "runtime-failed"
  | "aborted"
  | "internal";

/**
 * An error with a code and a message of the form `<subject>: <what is wrong>: expected X, got Y. <what to do>`.
 * The message names the file, node or value it is about; `cause` keeps the error below, if there was one.
 */
export class TersorError extends Error {
  override readonly name = "TersorError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Throws `internal` when a condition that the code itself guarantees does not hold. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new TersorError("internal", `internal: ${message}. This is a bug in Tersor.`);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
