/** @file Options that several data formats share, as zod schemas; a format adds its own in its file. */
import { z } from "zod";
import { dtypes, isDType } from "../tensor/dtype.ts";
import { parseOptions as parse } from "../util/options.ts";

export const formatNames = ["images", "npy", "npz", "raw", "jsonl", "csv", "tsv", "text", "module", "audio"] as const;
export type FormatName = (typeof formatNames)[number];

/** Why a module is refused that is named inside of data; see docs/trust.md. */
export const DATA_RUNS_NOTHING =
  "is a module, which runs, and is named inside of a JSON file, which is data. Name it on the command line or in a .ts or .mjs recipe.";

const count = z.int().positive();
const channelValues = z
  .union([z.number(), z.array(z.number()).nonempty()])
  .transform((v) => (Array.isArray(v) ? v : [v]));

/** An object of anything by any name: z.record leaves "__proto__" out. */
export const anyRecord = z.custom<Readonly<Record<string, unknown>>>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  { error: "expected an object" },
);

/** Of every format. Paths are relative to the file that names them, on the command line to the current folder. */
export const commonOptions = {
  path: z.string().min(1).describe("File or folder."),
  format: z.enum(formatNames).optional().describe("What it is; decided by the path when absent."),
  skip: count
    .optional()
    .describe("Leave out this many samples, after shuffling: one part to calibrate on, the rest to judge by."),
  take: count.optional().describe("Use the first samples only, after shuffling and skip."),
  shuffle: z.boolean().default(false).describe("Put the samples in an order decided by the seed."),
  seed: z.int().default(0).describe("Seed of the order."),
  skipBad: z.boolean().default(false).describe("Leave out samples that cannot be read, and say which."),
};

/** How stored numbers become the model's: y = ((x - zeroPoint) * scale - mean) / std. */
export const normalizationOptions = {
  zeroPoint: z.number().optional().describe("Subtracted first."),
  scale: z.number().optional().describe("Multiplied with, before mean and std."),
  mean: channelValues.optional().describe("Subtracted: one value, or one per channel."),
  std: channelValues.optional().describe("Divided by: one value, or one per channel."),
};

export const layout = z.enum(["nchw", "nhwc"]);

/** For formats of plain arrays. */
export const arrayOptions = {
  ...normalizationOptions,
  stored: layout.default("nchw").describe("Layout of the stored samples; matters with a layout or per-channel values."),
  layout: layout.default("nchw").describe("Layout that the model wants."),
};

/** For token ids: each sample of n + 1 ids becomes n inputs, and their successors as label. */
export const nextTokenOption = z
  .strictObject({
    padding: z.int().optional().describe("The id that stands for no token."),
    fill: z.int().nonnegative().optional().describe("The id to feed in its place (0)."),
  })
  .optional();

export const classesOption = z
  .union([z.string(), z.array(z.string()).nonempty()])
  .optional()
  .describe("Class names in the order of the model's outputs, or a file with them (JSON array, or a name a line).");

/** For formats of texts. */
export const tokenizerOptions = {
  tokenizer: z.string().optional().describe("A Hugging Face tokenizer.json."),
  maxLength: z.int().min(2).optional().describe("Tokens kept of a text."),
  pad: z.boolean().default(false).describe("Pad every text to maxLength."),
  padding: z.int().nonnegative().optional().describe("The id to pad with; the tokenizer's own when absent."),
};

/** An element type by name. */
export const dtypeOption = z.custom<(typeof dtypes)[number]["name"]>(
  (value) => typeof value === "string" && isDType(value),
  { error: `expected one of ${dtypes.map((row) => row.name).join(", ")}` },
);

/** Checks options against a schema. @throws bad-data naming each wrong key; `subject` opens the message. */
export function parseOptions<T>(schema: z.ZodType<T>, value: unknown, subject: string): T {
  return parse(schema, value, subject, { code: "bad-data" });
}
