/** @file A worker of a page: it gets a file, tells how far it is, and gives the smaller one back. */
import { quantize, simplify, TersorError, toBytes } from "tersor";

addEventListener("message", async ({ data: file }: MessageEvent<Blob>) => {
  try {
    const { model } = await simplify(file);
    const onProgress = (event: object) => postMessage({ progress: event });
    const { model: small, report } = await quantize(model, { dtype: "int8" }, { onProgress });
    const layers = report.layers.filter(({ status }) => status === "quantized").length;
    postMessage({ bytes: toBytes(small), layers });
  } catch (error) {
    postMessage({ error: error instanceof TersorError ? error.message : String(error) });
  }
});
