/** @file A third of the channels goes, and what that cost is trained back after the model as it was. */
import { compare, distill, type Model, prune, type Samples, simplify } from "tersor";

export async function pruned(onnx: Uint8Array, train: Samples, test: Samples): Promise<Model> {
  const { model } = await simplify(onnx);
  const cut = await prune(model, { structure: "channels", ratio: 0.3, by: "macs", calibrate: train });
  const { model: student } = await distill(cut.model, { teacher: model, data: train, epochs: 1, rate: 1e-3 });
  const { report } = await compare(student, { against: model, data: test, runs: 0 });
  if ((report.metric?.after ?? 0) < (report.metric?.before ?? 0) - 50) throw new Error("train for longer");
  return student;
}
