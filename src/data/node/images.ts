/** @file Data format: a folder of images, labelled by its sub-folders or by a file of labels. Decoding: sharp. */
import sharp, { type ResizeOptions } from "sharp";
import { z } from "zod";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { messageOf, TersorError } from "../../util/errors.ts";
import { type InputInfo, onlyInput, shapeText } from "../fit-input.ts";
import { classesOption, commonOptions, layout, normalizationOptions } from "../options.ts";
import { type Layout, normalize } from "../preprocess.ts";
import { type FileKind, filesDataset } from "./file-labels.ts";
import { checkFile } from "./files.ts";
import { defineFormat } from "./format.ts";

const side = z.int().positive();
const images: FileKind = {
  pattern: /\.(jpe?g|png|webp|gif|avif|tiff?|bmp|svg)$/i,
  many: "images",
  one: "image",
  endings: ".jpg, .png or .webp",
};

const options = z.strictObject({
  ...commonOptions,
  ...normalizationOptions,
  resize: z
    .union([
      z.tuple([side, side]),
      z.strictObject({ height: side }),
      z.strictObject({ width: side }),
      z.strictObject({ shortest: side }),
    ])
    .optional()
    .describe("[width, height] regardless of aspect, or one side of it; what the model's dims say when absent."),
  kernel: z.enum(["nearest", "linear", "cubic", "lanczos2", "lanczos3"]).default("linear").describe("Interpolation."),
  crop: z.tuple([side, side]).optional().describe("[width, height] to cut from the centre after resizing."),
  colour: z
    .enum(["rgb", "bgr", "grey"])
    .default("rgb")
    .describe("Order; grey, 0.299 R + 0.587 G + 0.114 B, is copied to as many channels as the model has."),
  layout: layout.optional().describe("What the model wants; decided by its dims when absent."),
  labels: z.string().optional().describe("A .json, .csv or .txt file of labels; sub-folders are classes when absent."),
  classes: classesOption,
});
type ImageOptions = z.infer<typeof options>;

export const imagesFormat = defineFormat({
  name: "images",
  summary: "A folder of images; its sub-folders are the classes, or labels.json, labels.csv or labels.txt beside them.",
  options,
  matches: (path, isFolder) => isFolder || images.pattern.test(path),
  async open(options, context) {
    const target = targetOf(context.inputs, options, context.resolve(options.path));
    return filesDataset(options, context, images, (path) => readImage(path, target, options));
  },
});

/** What an image becomes. */
interface Target {
  readonly input: InputInfo;
  readonly layout: Layout;
  readonly channels: number;
  readonly resize: ImageOptions["resize"];
}

/** Layout, channels and size from the options and, where they do not say, from the model's dims. */
function targetOf(inputs: readonly InputInfo[], options: ImageOptions, subject: string): Target {
  const input = onlyInput(inputs, subject);
  const { dims } = input;
  const isCount = (dim: unknown) => dim === 1 || dim === 3;
  const guessed = isCount(dims[1]) ? "nchw" : isCount(dims[3]) ? "nhwc" : undefined;
  const layout = options.layout ?? guessed;
  if (dims.length !== 4 || layout === undefined)
    throw new TersorError(
      "bad-data",
      `${subject}: input "${input.name}" is not an image: expected 4 dims, 1 or 3 of them channels, got ${shapeText(input)}. If it is one, give option "layout".`,
    );
  const [channels, height, width] = layout === "nchw" ? dims.slice(1) : [dims[3], dims[1], dims[2]];
  const known = options.resize ?? (options.crop ? undefined : sizeOf(width, height));
  return { input, layout, channels: typeof channels === "number" ? channels : 3, resize: known };
}

function sizeOf(width: unknown, height: unknown): ImageOptions["resize"] {
  if (typeof width === "number" && typeof height === "number") return [width, height];
  if (typeof height === "number") return { height };
  return typeof width === "number" ? { width } : undefined;
}

async function readImage(path: string, target: Target, options: ImageOptions): Promise<HostTensor> {
  const { channels, layout } = target;
  const { data, info } = await decode(path, target, options);
  const pixels = spread(data, info.channels, channels, options.colour === "bgr");
  // Bytes stay bytes for a model that takes them; others are trained on [0, 1] unless the options say otherwise.
  const scale = options.scale ?? (target.input.dtype === "uint8" ? 1 : 1 / 255);
  const { mean, std, zeroPoint } = options;
  const normalization = {
    scale,
    ...(mean ? { mean } : {}),
    ...(std ? { std } : {}),
    ...(zeroPoint === undefined ? {} : { zeroPoint }),
  };
  const values = normalize(pixels, channels, "nhwc", layout, normalization, path);
  const { width, height } = info;
  return {
    dtype: "float32",
    dims: layout === "nchw" ? [1, channels, height, width] : [1, height, width, channels],
    data: values,
  };
}

async function decode(path: string, { channels, resize }: Target, options: ImageOptions) {
  const isGrey = options.colour === "grey" || channels === 1;
  checkFile(path);
  try {
    // A file of a few bytes may claim a huge picture; sharp's own limit of 268 megapixels applies.
    let image = sharp(path, { autoOrient: true }).removeAlpha();
    const metadata = resize && "shortest" in resize ? (await sharp(path).metadata()).autoOrient : undefined;
    const size = resize && sharpSize(resize, metadata);
    if (size) image = image.resize({ ...size, kernel: options.kernel });
    // What is grey in the file keeps its values; of a coloured picture libvips would give the luminance in linear light.
    const isStoredGrey = isGrey && greySpaces.has((await sharp(path).metadata()).space);
    image = image.toColourspace(isStoredGrey ? "b-w" : "srgb");
    const decoded = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    const cropped = options.crop ? cropCentre(decoded, options.crop, path) : decoded;
    return isGrey ? lumaOf(cropped) : cropped;
  } catch (error) {
    if (error instanceof TersorError) throw error;
    throw new TersorError(
      "bad-data",
      `${path}: not a readable image: ${messageOf(error)}. Repair it, or leave it out: skipBad.`,
      {
        cause: error,
      },
    );
  }
}

const greySpaces: ReadonlySet<string | undefined> = new Set(["b-w", "grey16"]);

/**
 * 0.299 R + 0.587 G + 0.114 B on the stored values, rounded as PIL does (ITU-R BT.601): what Pillow, OpenCV, TensorFlow and torchvision
 * train models on.
 */
function lumaOf(image: Decoded): Decoded {
  const { data, info } = image;
  const { width, height, channels } = info;
  if (channels < 3) return image;
  const grey = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < grey.length; i++, at += channels) {
    const [r, g, b] = [data[at] as number, data[at + 1] as number, data[at + 2] as number];
    grey[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
  }
  return { data: grey, info: { width, height, channels: 1 } };
}

/** One side alone keeps the aspect; "fill" would leave the other side as it is. */
function sharpSize(
  resize: NonNullable<ImageOptions["resize"]>,
  metadata: { readonly width: number; readonly height: number } | undefined,
): ResizeOptions {
  if (Array.isArray(resize)) return { width: resize[0], height: resize[1], fit: "fill" };
  if (!("shortest" in resize)) return resize;
  const isTall = !metadata || metadata.width <= metadata.height;
  return isTall ? { width: resize.shortest } : { height: resize.shortest };
}

interface Decoded {
  readonly data: Uint8Array;
  readonly info: { readonly width: number; readonly height: number; readonly channels: number };
}

function cropCentre({ data, info }: Decoded, [width, height]: readonly [number, number], path: string): Decoded {
  if (width > info.width || height > info.height)
    throw new TersorError(
      "bad-data",
      `${path}: smaller than the crop: expected at least ${width}×${height}, got ${info.width}×${info.height}. Use resize.`,
    );
  const left = (info.width - width) >> 1;
  const top = (info.height - height) >> 1;
  const line = width * info.channels;
  const out = new Uint8Array(line * height);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * info.width + left) * info.channels;
    out.set(data.subarray(start, start + line), y * line);
  }
  return { data: out, info: { width, height, channels: info.channels } };
}

/** Pixels of `from` channels as pixels of `to`: one is copied to all, three may change their order. */
function spread(data: Uint8Array, from: number, to: number, isReversed: boolean): Uint8Array {
  if (from === to && !isReversed) return data;
  const pixels = data.length / from;
  const out = new Uint8Array(pixels * to);
  for (let i = 0; i < pixels; i++)
    for (let c = 0; c < to; c++)
      out[i * to + c] = data[i * from + (from === 1 ? 0 : isReversed ? to - 1 - c : c)] as number;
  return out;
}
