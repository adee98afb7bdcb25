/** @file Where something stands in the memory of the kernels. */

/** A byte address. */
export type Pointer = number;
