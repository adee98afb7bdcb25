/** @file A temporary folder beside the output: what is written there moves into place at the end, or is gone. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Model } from "../../ir/model.ts";
import { dataFileName } from "../../ir/serde/encode-model.ts";
import { reason } from "../../node/file-source.ts";
import { type SavedFiles, type SaveOptions, saveModel } from "../../node/save.ts";
import { removeStale, temporaryName } from "../../node/temporary.ts";
import { TersorError } from "../../util/errors.ts";
import type { OutputPaths } from "./files.ts";

const open = new Set<Workspace>();
process.on("exit", () => {
  for (const workspace of open) workspace.remove();
});

/** Made when the first model is written. On the output's file system, so that moving is renaming. */
export class Workspace {
  readonly #output: OutputPaths;
  readonly #save: SaveOptions;
  readonly #files = new Map<Model, SavedFiles>();
  #folder: string | undefined;
  #count = 0;

  constructor(output: OutputPaths, save: SaveOptions) {
    this.#output = output;
    this.#save = save;
    open.add(this);
  }

  /** Writes a model, once, under the output's name in a folder of its own. @throws as saveModel */
  async write(model: Model): Promise<SavedFiles> {
    const known = this.#files.get(model);
    if (known) return known;
    const folder = join(this.#open(), String(this.#count++));
    try {
      mkdirSync(folder);
    } catch (error) {
      throw unwritable(this.#output.model, error);
    }
    const options = { ...this.#save, name: this.#output.model };
    const saved = await saveModel(model, join(folder, basename(this.#output.model)), options);
    this.#files.set(model, saved);
    return saved;
  }

  has(model: Model): boolean {
    return this.#files.has(model);
  }

  /** Deletes what was written for a model. */
  discard(model: Model): void {
    const saved = this.#files.get(model);
    if (!saved) return;
    this.#files.delete(model);
    rmSync(dirname(saved.path), { recursive: true, force: true });
  }

  /** Puts a model and its manifest, if it has one, into place, the model last. @throws bad-data when the place can't be written */
  publish(model: Model, manifest?: string): void {
    const saved = this.#files.get(model);
    if (!saved) throw new TersorError("internal", "workspace: the model was not written. This is a bug in Tersor.");
    try {
      const text = join(this.#open(), "manifest.json");
      if (manifest !== undefined) writeFileSync(text, manifest);
      for (const [i, path] of saved.dataPaths.entries()) renameSync(path, dataFileName(this.#output.data, i));
      if (manifest !== undefined) renameSync(text, this.#output.manifest);
      renameSync(saved.path, this.#output.model);
    } catch (error) {
      throw unwritable(this.#output.model, error);
    }
  }

  /** Deletes everything that is still here. */
  remove(): void {
    open.delete(this);
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  #open(): string {
    try {
      if (this.#folder === undefined) {
        const beside = dirname(resolve(this.#output.model));
        removeStale(beside);
        const folder = join(beside, temporaryName());
        mkdirSync(folder, { mode: 0o700 });
        this.#folder = folder;
      }
    } catch (error) {
      throw unwritable(this.#output.model, error);
    }
    return this.#folder;
  }
}

function unwritable(path: string, error: unknown): TersorError {
  return new TersorError("bad-data", `${path}: can't be written: ${reason(error)}`, { cause: error });
}
