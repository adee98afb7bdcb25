/** @file A folder of files with a label each, images or sound: labelled by a file of labels, or by the sub-folders. */
import { dirname, join } from "node:path";
import { z } from "zod";
import type { HostTensor } from "../../tensor/host-tensor.ts";
import { TersorError } from "../../util/errors.ts";
import { type IndexedDataset, indexedDataset, type Sample } from "../dataset.ts";
import { parseDelimited } from "../delimited.ts";
import { fitInputs, onlyInput } from "../fit-input.ts";
import { parseLabel, readLabels, sortClasses } from "../labels.ts";
import { parseOptions } from "../options.ts";
import { exists, filesBelow, foldersIn, nameOf, readJson, readText, statOf } from "./files.ts";
import { classesOf, type OpenContext } from "./format.ts";

type RawLabel = string | number;
/** A label a file in the files' order, or by file. */
type LabelTable = readonly RawLabel[] | ReadonlyMap<string, RawLabel>;

const fileNames = ["labels.json", "labels.csv", "labels.txt"];

/** What a folder holds: `pattern` tells its files, the rest names them in messages. */
export interface FileKind {
  readonly pattern: RegExp;
  /** "images", say; `one` of them, and some endings. */
  readonly many: string;
  readonly one: string;
  readonly endings: string;
}

interface LabelOptions {
  readonly path: string;
  readonly labels?: string | undefined;
  readonly classes?: string | readonly string[] | undefined;
}

/**
 * A sample for every file at a path, a folder or a single one, with its label where one is known.
 * @param read the model's only input from a file @throws bad-data when there are no files, or labels do not fit them
 */
export async function filesDataset(
  options: LabelOptions,
  context: OpenContext,
  kind: FileKind,
  read: (path: string) => Promise<HostTensor>,
): Promise<IndexedDataset> {
  const root = context.resolve(options.path);
  const { isFolder } = await statOf(root);
  const folder = isFolder ? root : dirname(root);
  const files = isFolder ? (await filesBelow(root)).filter((file) => kind.pattern.test(file)) : [nameOf(root)];
  if (files.length === 0)
    throw new TersorError(
      "bad-data",
      `${root}: no ${kind.many}: expected files such as ${kind.endings} in it or its sub-folders, got none.`,
    );
  const classes = await classesOf(options.classes, context);
  const table = options.labels === undefined ? undefined : context.resolve(options.labels);
  const labels = isFolder ? await labelsOf(folder, files, table, classes, kind, context.onRead) : undefined;
  const { name } = onlyInput(context.inputs, root);
  return indexedDataset({
    name: nameOf(root),
    size: files.length,
    idOf: (index) => files[index] as string,
    ...(context.skipped ? { skipped: context.skipped } : {}),
    classes: labels?.folders,
    async at(index): Promise<Sample> {
      const id = files[index] as string;
      const path = join(folder, id);
      context.onRead(path);
      const label = labels?.labels[index];
      const inputs = fitInputs({ [name]: await read(path) }, context.inputs, path);
      return { id, inputs, ...(label === undefined ? {} : { label }) };
    },
  });
}

/**
 * One label a file, or undefined where nothing says them; and the classes by index, where sub-folders do.
 * @param files relative to `folder`, sorted; @param file the file of labels, else one beside or in the folder is looked for
 * @throws bad-data when the labels do not fit the files.
 */
async function labelsOf(
  folder: string,
  files: readonly string[],
  file: string | undefined,
  classes: readonly string[] | undefined,
  kind: FileKind,
  onRead: OpenContext["onRead"],
): Promise<{ readonly labels: readonly RawLabel[]; readonly folders?: readonly string[] } | undefined> {
  const found = file ?? (await findLabels(folder));
  if (found !== undefined) {
    onRead(found);
    const labels = assign(await readTable(found), files, found, kind);
    return { labels: labels.map((label, index) => parseLabel(label, classes, `${found}: "${files[index]}"`)) };
  }
  const folders = files.map((each) => (each.includes("/") ? (each.split("/")[0] as string) : undefined));
  if (folders.every((name) => name === undefined)) return undefined;
  const bare = folders.indexOf(undefined);
  if (bare >= 0)
    throw new TersorError(
      "bad-data",
      `${folder}: "${files[bare]}" has no class: expected every ${kind.one} in a sub-folder (its class), or a labels file. Move it, or add labels.json.`,
    );
  if (!classes) await checkFilled(folder, new Set(folders as string[]), kind);
  const names = classes ?? sortClasses(folders as string[]);
  const labels = (folders as string[]).map((name) => parseLabel(name, names, `${folder}: sub-folder "${name}"`));
  return { labels, ...(classes ? {} : { folders: names }) };
}

/**
 * A sub-folder without files would not be a class, and all behind it would have another number than in training.
 * @throws bad-data, as torchvision does
 */
async function checkFilled(folder: string, filled: ReadonlySet<string>, { many, endings }: FileKind): Promise<void> {
  const empty = (await foldersIn(folder)).filter((name) => !filled.has(name));
  if (empty.length === 0) return;
  const names = empty.map((name) => `"${name}"`).join(", ");
  throw new TersorError(
    "bad-data",
    `${folder}: sub-folder ${names}: a class without ${many}: expected files such as ${endings} in every sub-folder, since they number the classes. Fill or remove it, or name all classes with the data option "classes".`,
  );
}

/** In the folder; or beside it, when it is called "images". */
async function findLabels(folder: string): Promise<string | undefined> {
  const places = nameOf(folder) === "images" ? [folder, dirname(folder)] : [folder];
  for (const place of places)
    for (const name of fileNames) if (await exists(join(place, name))) return join(place, name);
  return undefined;
}

const jsonLabels = z.union([
  z.array(z.union([z.string(), z.number()])),
  z.record(z.string(), z.union([z.string(), z.number()])),
]);

async function readTable(path: string): Promise<LabelTable> {
  if (path.endsWith(".json")) {
    const table = parseOptions(jsonLabels, await readJson(path), path);
    return Array.isArray(table) ? table : new Map(Object.entries(table));
  }
  const text = await readText(path);
  if (path.endsWith(".csv") || path.endsWith(".tsv")) {
    const records = parseDelimited(text, { separator: path.endsWith(".csv") ? "," : "\t" }, path);
    return byFile(
      records.map((record) => [record[0] ?? "", record[1]] as const),
      path,
    );
  }
  return linesTable(
    text.split(/\r\n|\n|\r/).filter((line) => line !== ""),
    path,
  );
}

/** "file label" lines where every first word looks like a file, else a label a line. */
function linesTable(lines: readonly string[], path: string): LabelTable {
  const pairs = lines.map((line) => /^(\S+\.\w{3,4})\s+(.*)$/.exec(line));
  if (!pairs.every((pair) => pair)) return readLabels(lines);
  return byFile(
    pairs.map((pair) => [pair?.[1] ?? "", pair?.[2]] as const),
    path,
  );
}

function byFile(pairs: readonly (readonly [string, string | undefined])[], path: string): LabelTable {
  const isHeader = /^(file|image|audio|path|name|id)(name|_?path)?$/i.test(pairs[0]?.[0] ?? "");
  const rows = isHeader ? pairs.slice(1) : pairs;
  const short = rows.find(([, label]) => label === undefined);
  if (short)
    throw new TersorError("bad-data", `${path}: "${short[0]}" has no label: expected two columns, file and label.`);
  const labels = readLabels(rows.map(([, label]) => label as string));
  return new Map(rows.map(([file], index) => [file, labels[index] as RawLabel]));
}

function assign(table: LabelTable, files: readonly string[], path: string, kind: FileKind): readonly RawLabel[] {
  if (Array.isArray(table)) {
    if (table.length === files.length) return table;
    throw new TersorError(
      "bad-data",
      `${path}: wrong number of labels: expected one for each of ${files.length} ${kind.many}, in the order of their names, got ${table.length}.`,
    );
  }
  const byName = table as ReadonlyMap<string, RawLabel>;
  return files.map((file) => {
    const label = byName.get(file) ?? byName.get(nameOf(file)) ?? byName.get(nameOf(file).replace(/\.\w+$/, ""));
    if (label !== undefined) return label;
    throw new TersorError("bad-data", `${path}: no label for "${file}": expected one for every ${kind.one}.`);
  });
}
