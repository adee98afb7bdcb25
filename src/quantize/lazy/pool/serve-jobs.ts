/** @file The worker's side of a pool: carries out the jobs that arrive on a port. */
import type { Port } from "../../../runtime/worker-protocol.ts";
import { Tensor } from "../../../tensor/tensor.ts";
import { MemorySource } from "../../../util/bytes.ts";
import { type ErrorCode, messageOf, TersorError } from "../../../util/errors.ts";
import { methods } from "../../methods/index.ts";
import type { LayerStats, QuantMethod } from "../../methods/method.ts";
import { computeWeight } from "../by-method.ts";
import type { ComputedWeight, MethodJob } from "./method-pool.ts";

/** What a worker answers to each job, in the order of the jobs. */
export type JobReply =
  | { readonly result: ComputedWeight }
  | { readonly error: { readonly code: ErrorCode; readonly message: string } };

export function serveJobs(port: Port): void {
  port.onMessage((message) => {
    try {
      const result = runJob(message as MethodJob);
      port.send({ result } satisfies JobReply, [result.codes.buffer as ArrayBuffer]);
    } catch (error) {
      const code = error instanceof TersorError ? error.code : "internal";
      port.send({ error: { code, message: messageOf(error) } } satisfies JobReply, []);
    }
  });
}

/** @throws what the method throws */
function runJob({ job, weight, method, options, stats, axes, groups, storage }: MethodJob): ComputedWeight {
  const tensor = new Tensor(weight.dtype, weight.dims, new MemorySource(weight.bytes));
  const run = {
    method: methods[method] as QuantMethod,
    options,
    stats: (part: number) => stats[part] as LayerStats,
    axes,
    groups,
  };
  return computeWeight({ ...job, weight: tensor }, run, storage);
}
