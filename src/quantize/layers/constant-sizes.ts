/** @file What a model's constants weigh. */
import { type Model, nestedGraphs } from "../../ir/model.ts";

/** Bytes of each initializer, those of subgraphs included, by name. */
export function constantSizes(model: Model): Map<string, number> {
  const values = nestedGraphs(model.graph).flatMap((graph) => graph.initializers);
  return new Map(values.map(({ name, tensor }) => [name, tensor?.byteLength ?? 0]));
}
