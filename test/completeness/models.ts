/** @file The trained models that reports are checked on: fixtures and those of npm packages, each with inputs of its own kind, seeded. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const repository = process.env.TERSOR_REPOSITORY ?? dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export interface TrainedModel {
  readonly name: string;
  readonly path: string;
  /** Body of a function of `random`, which gives numbers from 0 to 1, that makes one sample's inputs. */
  readonly sample: string;
  /** Too large for every test: the bench takes it. */
  readonly isLarge?: boolean;
}

const fixture = (name: string) => join(repository, "test", "fixtures", "models", `${name}.onnx`);
const ocr = (name: string) => join(repository, "node_modules", "@gutenye", "ocr-models", "assets", `${name}.onnx`);
const vad = (name: string) => join(repository, "node_modules", "@ricky0123", "vad-web", "dist", `${name}.onnx`);
const shared = (name: string) => join(repository, "..", "shared", "data", "models", `${name}.onnx`);

/** A tensor of numbers around zero; `size` scales them. */
const floats = (name: string, dims: readonly number[], size = 1) =>
  `"${name}": { dtype: "float32", dims: [${dims}], data: Float32Array.from({ length: ${dims.reduce((a, b) => a * b, 1)} }, () => ${size} * (random() + random() + random() - 1.5)) }`;
const pixels = (name: string, dims: readonly number[]) =>
  `"${name}": { dtype: "float32", dims: [${dims}], data: Float32Array.from({ length: ${dims.reduce((a, b) => a * b, 1)} }, () => 255 * random()) }`;
const rate = `"sr": { dtype: "int64", dims: [], data: BigInt64Array.of(16000n) }`;

const rows: readonly TrainedModel[] = [
  { name: "autoencoder", path: fixture("mlperf_ad_autoencoder"), sample: floats("input", [1, 640], 5) },
  { name: "ds-cnn", path: fixture("mlperf_kws_dscnn"), sample: floats("mfcc", [1, 1, 49, 10], 40) },
  { name: "resnet8", path: fixture("mlperf_resnet8_cifar10"), sample: pixels("input", [1, 3, 32, 32]) },
  { name: "mobilenet", path: fixture("mlperf_vww_mobilenet_v1_025"), sample: floats("input", [1, 3, 96, 96], 0.5) },
  { name: "resnet20", path: fixture("resnet20_cifar10"), sample: floats("input", [1, 3, 32, 32], 2) },
  { name: "ultraface", path: fixture("ultraface_rfb320"), sample: floats("input", [1, 3, 240, 320], 1) },
  {
    name: "silero-half",
    path: fixture("silero_vad_half"),
    sample: `${floats("input", [1, 576], 0.3)}, ${floats("state", [2, 1, 128])}`,
  },
  {
    name: "stories",
    path: fixture("stories260K"),
    sample: `"input_ids": { dtype: "int64", dims: [1, 24], data: BigInt64Array.from({ length: 24 }, () => BigInt(Math.floor(random() * 512))) }`,
  },
  { name: "ocr-direction", path: ocr("ch_ppocr_mobile_v2.0_cls_infer"), sample: floats("x", [1, 3, 48, 192], 1) },
  {
    name: "silero-legacy",
    path: vad("silero_vad_legacy"),
    sample: `${floats("input", [1, 1536], 0.3)}, ${floats("h", [2, 1, 64])}, ${floats("c", [2, 1, 64])}, ${rate}`,
  },
  {
    name: "silero-v5",
    path: vad("silero_vad_v5"),
    sample: `${floats("input", [1, 512], 0.3)}, ${floats("state", [2, 1, 128])}, ${rate}`,
  },
  {
    name: "silero-v6",
    path: vad("silero_vad_v6"),
    sample: `${floats("input", [1, 512], 0.3)}, ${floats("state", [2, 1, 128])}, ${rate}`,
    isLarge: true,
  },
  { name: "ocr-detector", path: ocr("ch_PP-OCRv4_det_infer"), sample: floats("x", [1, 3, 64, 128], 1), isLarge: true },
  { name: "ocr-recognizer", path: ocr("ch_PP-OCRv4_rec_infer"), sample: floats("x", [1, 3, 48, 96], 1), isLarge: true },
  { name: "resnet56", path: shared("resnet56_cifar10"), sample: floats("input", [1, 3, 32, 32], 2), isLarge: true },
  { name: "squeezenet", path: shared("squeezenet1_0_dc"), sample: floats("data", [1, 3, 227, 227], 60), isLarge: true },
];

/** Those that are there: all of CI's are. */
export const models: readonly TrainedModel[] = rows.filter(({ isLarge, path }) => !isLarge || existsSync(path));

/** A module that gives eight samples, the same each time. */
export function dataModule({ sample }: TrainedModel): string {
  return `let state = 12345;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const samples = Array.from({ length: 8 }, () => ({ inputs: { ${sample} } }));
export default samples;
`;
}
