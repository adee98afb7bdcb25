/** @file Several steps in a row, with progress, and an end that the user may ask for. */
import { type RecipeStep, run, type Samples, TersorError, toBytes } from "tersor";

export async function optimize(
  onnx: Uint8Array,
  samples: Samples,
  { signal, show }: { readonly signal: AbortSignal; readonly show: (text: string) => void },
): Promise<Uint8Array | undefined> {
  const steps: RecipeStep[] = [
    { simplify: {} },
    { prune: { ratio: 0.2, by: "macs", calibrate: samples } },
    { quantize: { mode: "static", calibrate: samples } },
  ];
  try {
    const onProgress = ({ activity, done, total }: { activity: string; done: number; total: number }) =>
      show(`${activity} ${done}/${total}`);
    const { model, steps: done } = await run(onnx, { steps }, { signal, onProgress });
    for (const { step, report } of done) for (const note of report.notes ?? []) show(`${step}: ${note}`);
    return toBytes(model);
  } catch (error) {
    if (error instanceof TersorError && error.code === "aborted") return undefined;
    throw error;
  }
}
