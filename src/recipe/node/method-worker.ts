/** @file The worker thread of {@link methodPool}: carries out its jobs one after the other. */
import { parentPort } from "node:worker_threads";
import { serveJobs } from "../../quantize/lazy/pool/serve-jobs.ts";
import { invariant } from "../../util/errors.ts";

const port = parentPort;
invariant(port, "method-worker runs only in a worker thread");
serveJobs({
  send: (message, transfer) => port.postMessage(message, transfer),
  onMessage: (handler) => port.on("message", handler),
});
