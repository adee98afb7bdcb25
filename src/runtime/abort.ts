/** @file AbortSignal for calls that cannot be interrupted themselves. */
import { TersorError } from "../util/errors.ts";

/** @throws aborted when the signal has fired; `subject` opens the message. */
export function throwIfAborted(signal: AbortSignal | undefined, subject: string): void {
  if (signal?.aborted) throw aborted(signal, subject);
}

/** The promise, or a rejection with `aborted` as soon as the signal fires; `onAbort` is called then. */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  subject: string,
  onAbort?: () => void,
): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(aborted(signal, subject));
      onAbort?.();
    };
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function aborted(signal: AbortSignal, subject: string): TersorError {
  return new TersorError("aborted", `${subject}: the call was aborted.`, { cause: signal.reason });
}
