/** @file Made-up pictures for tests, and datasets made of others. */
import { type Dataset, datasetOf, type Sample } from "../src/data/dataset.ts";
import { Rng } from "../src/util/rng.ts";

/** Smooth images, [1, 3, size, size], 0 to 1; red is stronger than blue. */
export function images(seed: string, count: number, size = 16): Dataset {
  const rng = new Rng(5, seed);
  const image = () => {
    const waves = Array.from(
      { length: 4 },
      () => [rng.uniform() * 0.6, rng.uniform() * 0.6, rng.uniform() * 6] as const,
    );
    const strength = [0.75, 0.5, 0.25].map((x) => x + 0.1 * rng.normal());
    return Float32Array.from({ length: 3 * size * size }, (_, i) => {
      const [c, y, x] = [Math.floor(i / size ** 2), Math.floor(i / size) % size, i % size];
      const wave = waves.reduce((sum, [a, b, phase]) => sum + Math.sin(a * x + b * y + phase + c / 3), 0);
      return Math.min(1, Math.max(0, (strength[c] as number) + 0.12 * wave));
    });
  };
  const samples = Array.from(
    { length: count },
    (_, i): Sample => ({
      id: `${seed}${i}`,
      inputs: { x: { dtype: "float32", dims: [1, 3, size, size], data: image() } },
    }),
  );
  return datasetOf(seed, samples);
}

/** Every sample's input through `change`. */
export async function changed(data: Dataset, change: (x: Float32Array) => Float32Array): Promise<Dataset> {
  const samples: Sample[] = [];
  for await (const sample of data) {
    const inputs = Object.entries(sample.inputs).map(([name, tensor]) => [
      name,
      { ...tensor, data: change(tensor.data as Float32Array) },
    ]);
    samples.push({ ...sample, inputs: Object.fromEntries(inputs) });
  }
  return datasetOf(data.name, samples);
}
