/** @file What a runtime will not load or run is a finding of a probe, not a failure. */
import { messageOf, TersorError } from "../../util/errors.ts";

export interface Refusal {
  /** The runtime's words. */
  readonly reason: string;
}

/** What the work gives, or why the runtime refused. @throws everything that is not the runtime's: aborted, bugs */
export async function unlessRefused<T extends object>(work: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof TersorError && error.code === "runtime-failed") return { reason: messageOf(error) };
    throw error;
  }
}

export function isRefusal(result: object): result is Refusal {
  return "reason" in result;
}
