/** @file A session that gives what it gave before: the original under a bound runs once, not in every round. */

import type { Outputs } from "../../runtime/io.ts";
import type { Session } from "../../runtime/runtime.ts";

/** Outputs of the original up to this many bytes are kept, so that it runs once for all rounds. */
const RECORD_UP_TO = 256 * 2 ** 20;

/** A session whose runs are known from the first time: those who use it make the same runs in the same order. */
export class RecordedSession {
  readonly #session: Session;
  readonly #outputs: Outputs[] = [];
  #bytes = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Starts again at the first run. */
  session(): Session {
    const session = this.#session;
    let at = 0;
    return {
      inputs: session.inputs,
      outputs: session.outputs,
      loadMs: session.loadMs,
      run: async (feeds, fetches, options) =>
        this.#outputs[at++] ?? this.#record(await session.run(feeds, fetches, options), at),
      time: (feeds, runs, options) => session.time(feeds, runs, options),
      release: () => session.release(),
    };
  }

  /** Keeps the outputs of the next run that is not known; of later ones none, once there is no more room. */
  #record(outputs: Outputs, run: number): Outputs {
    const bytes = Object.values(outputs).reduce(
      (sum, { data }) => sum + ("byteLength" in data ? data.byteLength : 0),
      0,
    );
    if (this.#outputs.length === run - 1 && this.#bytes + bytes <= RECORD_UP_TO) {
      this.#outputs.push(outputs);
      this.#bytes += bytes;
    }
    return outputs;
  }
}
