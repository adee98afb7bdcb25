/** @file Compares a manifest with the files it speaks of: hashes and bytes, then what each kind of step claims. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { checkPruned, type PruneClaims } from "./check-prune.ts";
import { byName, checkQuantized, type QuantizeClaims } from "./check-quantize.ts";
import { isSame, numbersOf, type OnnxFile, readOnnx, sizeOf } from "./read-onnx.ts";

interface FileClaim {
  readonly file: string;
  readonly bytes: number;
  readonly sha256?: string;
}

interface ModelClaim {
  readonly bytes: number;
  readonly files: readonly FileClaim[];
}

/** A manifest, as it is read from its file. */
export interface ManifestClaims {
  readonly input: ModelClaim;
  readonly output: ModelClaim;
  readonly steps: readonly {
    readonly step: string;
    readonly options: Readonly<Record<string, unknown>>;
    readonly report: Readonly<Record<string, unknown>>;
  }[];
}

export interface Files {
  readonly before: string;
  readonly after: string;
  /** The same cut without recovery. */
  readonly plain?: string;
  /** Weights were changed by what is no rounding, as the options asked for: scaled, learned, corrected. */
  readonly isMoved?: boolean;
}

/** What is not true; nothing where all is. Of one step. */
export function check(manifest: ManifestClaims, files: Files): string[] {
  const [before, after] = [readOnnx(files.before), readOnnx(files.after)];
  const faults = [...checkFile(manifest.input, files.before), ...checkFile(manifest.output, files.after)];
  const plain = files.plain === undefined ? undefined : readOnnx(files.plain);
  for (const { step, options, report } of manifest.steps) {
    faults.push(...checkSizes(report, before, after));
    faults.push(...checkNotes(report, before, after));
    const claims: unknown = report;
    if (step === "prune") {
      const { ratio, criterion, by } = options;
      faults.push(
        ...checkPruned(
          before,
          after,
          claims as PruneClaims,
          { ratio: ratio as number | undefined, criterion: criterion as string | undefined, by: String(by) },
          plain,
        ),
      );
    } else if (step === "sparse") faults.push(...checkSparse(before, after, claims as SparseClaims));
    else {
      const minElements = Number(options.minElements ?? 256);
      faults.push(
        ...checkQuantized(before, after, claims as QuantizeClaims, {
          minElements,
          isMoved: files.isMoved === true,
          isLearned: /^(adaround|brecq)$/.test(String(options.method)),
          isCorrected: options.sequential === true,
        }),
      );
    }
  }
  return faults;
}

function checkFile({ bytes, files }: ModelClaim, path: string): string[] {
  const content = readFileSync(path);
  const [first] = files;
  const sha256 = createHash("sha256").update(content).digest("hex");
  return [
    ...(bytes === content.length && first?.bytes === content.length
      ? []
      : [`${basename(path)}: said to be ${bytes} bytes, it is ${content.length}`]),
    ...(first?.sha256 === sha256 ? [] : [`${basename(path)}: its hash is not what the manifest says`]),
    ...(first?.file === basename(path)
      ? []
      : [`the manifest speaks of "${first?.file}", the file is "${basename(path)}"`]),
  ];
}

function checkSizes({ size }: Readonly<Record<string, unknown>>, before: OnnxFile, after: OnnxFile): string[] {
  const claimed = size as { before: { bytes: number }; after: { bytes: number } } | undefined;
  if (!claimed) return [];
  return (
    [
      ["before", before],
      ["after", after],
    ] as const
  ).flatMap(([what, { path }]) => {
    const { length } = readFileSync(path);
    return claimed[what].bytes === length ? [] : [`size ${what}: ${claimed[what].bytes} bytes, the file has ${length}`];
  });
}

/** A raised opset is said, and only where it was raised. */
function checkNotes({ notes = [] }: Readonly<Record<string, unknown>>, before: OnnxFile, after: OnnxFile): string[] {
  const said = (notes as string[]).map((note) => /^opset raised from (\d+) to (\d+)/.exec(note)).find((each) => each);
  if (said)
    return Number(said[1]) === before.opset && Number(said[2]) === after.opset
      ? []
      : [`${said[0]}, in the files ${before.opset} and ${after.opset}`];
  return [];
}

interface SparseClaims {
  readonly constants: readonly {
    readonly name: string;
    readonly elements: number;
    readonly nonzero: number;
    readonly before: number;
    readonly after: number;
  }[];
}

/** What is stored sparsely gives the same numbers; the rest is what it was. */
function checkSparse(before: OnnxFile, after: OnnxFile, { constants }: SparseClaims): string[] {
  const faults: string[] = [];
  const [were, are] = [byName(before), byName(after)];
  const sparse = new Map(after.graphs.flatMap((graph) => [...graph.sparse]));
  const claimed = new Set(constants.map(({ name }) => name));
  for (const { name, elements, nonzero, before: bytes, after: stored } of constants) {
    const [was, is] = [were.get(name), sparse.get(name)];
    if (!was || !is) {
      faults.push(`"${name}" is not stored sparsely`);
      continue;
    }
    const [dense, values, at] = [numbersOf(was), numbersOf(is.values), numbersOf(is.indices)];
    const back = new Float64Array(dense.length);
    for (const [i, place] of at.entries()) back[place] = values[i] as number;
    if (dense.some((x, i) => x !== back[i])) faults.push(`"${name}" does not give the numbers that it had`);
    if (elements !== sizeOf(was.dims) || nonzero !== values.length)
      faults.push(`"${name}": ${nonzero} of ${elements}, in the file ${values.length} of ${sizeOf(was.dims)}`);
    const now = is.values.raw.byteLength + is.indices.raw.byteLength;
    if (bytes !== was.raw.byteLength || stored !== now)
      faults.push(`"${name}": ${bytes} → ${stored} bytes, in the files ${was.raw.byteLength} → ${now}`);
  }
  for (const [name, was] of were) {
    const is = are.get(name);
    if (!claimed.has(name) && !(is && isSame(was, is)))
      faults.push(`"${name}" is not what it was, and nothing says so`);
  }
  for (const name of sparse.keys())
    if (!claimed.has(name)) faults.push(`"${name}" is stored sparsely, and nothing says so`);
  return faults;
}
