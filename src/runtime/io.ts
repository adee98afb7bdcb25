/** @file What runtimes take and give. */
import type { DType } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/host-tensor.ts";

export interface IoInfo {
  readonly name: string;
  readonly dtype: DType;
  /** A number where fixed, a name where symbolic, null where unknown. Empty for a scalar and where the rank is unknown. */
  readonly dims: readonly (number | string | null)[];
}

export type Feeds = Readonly<Record<string, HostTensor>>;

export type Outputs = Readonly<Record<string, HostTensor>>;
