/** @file What the recogniser learns from: pieces, 320 pixels wide, of the first sixty pictures of the demo. Their texts are not needed. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

const [HEIGHT, WIDTH] = [48, 320];
const folder = fileURLToPath(new URL("../demo/lines/images", import.meta.url));
const files = readdirSync(folder).sort().slice(0, 60);

/** Each picture three times, from another place on and stretched a little differently; the same on every pass. */
export default async function* () {
  for (const stretch of [0.85, 1, 1.2])
    for (const [index, file] of files.entries()) {
      const { width } = await sharp(`${folder}/${file}`).metadata();
      const size = { width: Math.max(WIDTH, Math.round(width * stretch)), height: HEIGHT, fit: "fill" };
      const left = ((index * 37) % (size.width - WIDTH + 1)) | 0;
      const pixels = await sharp(`${folder}/${file}`)
        .resize(size)
        .extract({ left, top: 0, width: WIDTH, height: HEIGHT })
        .greyscale()
        .raw()
        .toBuffer();
      const grey = Float32Array.from(pixels, (value) => value / 127.5 - 1);
      const data = new Float32Array(3 * grey.length);
      for (const channel of [0, 1, 2]) data.set(grey, channel * grey.length);
      yield { inputs: { x: { dtype: "float32", dims: [1, 3, HEIGHT, WIDTH], data } } };
    }
}
