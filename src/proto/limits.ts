/** @file Limits for untrusted model files, in one place. Real models stay orders of magnitude below them. */
export const limits = {
  /** Messages nested in each other; a subgraph takes three levels (graph, node, attribute). protobuf's own default is 100. */
  depth: 100,
  /** Memory that a file's structure may take, estimated: nodes, names, attributes; not tensor data, which stays in the file. */
  structureBytes: 2 ** 30,
  /** Bytes of one file that protobuf readers accept; larger models need external data. */
  protobufBytes: 2 ** 31 - 1,
  /** Length of one name or other string. */
  stringBytes: 1 << 26,
  /** Dims of one tensor. */
  rank: 64,
} as const;
