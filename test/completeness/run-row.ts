/** @file One row on one model: written by the recipe that a user would write, then compared with its report. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { idleOptions } from "../../src/recipe/effects.ts";
import { runRecipe } from "../../src/recipe/node/run-recipe.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import { stepOf, titleOf } from "../../src/recipe/recipe.ts";
import { TersorError } from "../../src/util/errors.ts";
import { check, type Files, type ManifestClaims } from "./check.ts";
import { dataModule, type TrainedModel } from "./models.ts";
import { needsData, optionsOf, type Plan, type Row } from "./rows.ts";

export interface Outcome {
  readonly faults: readonly string[];
  /** What the product said instead of writing a model. */
  readonly refused?: string;
}

export interface Written extends Files {
  readonly manifest: ManifestClaims;
}

/** Folders that rows are written to; the simplified models and the data are made once. */
export class Bench {
  readonly folder: string;
  readonly #made = new Set<string>();

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  async run(model: TrainedModel, plan: Plan, row: Row): Promise<Outcome> {
    try {
      const written = await this.write(model, plan, row);
      const { manifest, ...files } = written;
      return { faults: check(manifest, files) };
    } catch (error) {
      if (!(error instanceof TersorError)) throw error;
      const said = `${error.code}: ${error.message}`;
      // To refuse is no fault where the reason lies in what was asked for; these models and data are sound.
      const isFair = error.code === "bad-recipe" || error.code === "unsupported-op";
      return { faults: isFair ? [] : [said], refused: said };
    }
  }

  /** The model of the row, and of the same cut without recovery where there is one. */
  async write(model: TrainedModel, plan: Plan, row: Row): Promise<Written> {
    const simple = await this.#simplified(model);
    const data = this.#path(`${model.name}.data.mjs`);
    const first = plan.before?.(row);
    let before = simple;
    if (first) {
      before = this.#path("before.onnx");
      const [[name, options] = ["", {}]] = Object.entries(first);
      const needs = name === "equalize" ? { calibrate: data } : {};
      await this.#take(simple, before, { [name]: { ...(options as object), ...needs } });
    }
    const options = optionsOf(plan, row);
    const isPruned = plan.step === "prune";
    const given = plan.data && (!isPruned || needsData(row)) ? { ...options, [plan.data]: data } : options;
    const after = this.#path("after.onnx");
    await this.#take(before, after, { [plan.step]: given });
    const recovers = isPruned && given.recover !== undefined && given.recover !== "none";
    const plain = this.#path("plain.onnx");
    if (recovers) await this.#take(before, plain, { [plan.step]: { ...given, recover: "none" } });
    const manifest = JSON.parse(readFileSync(`${after}.json`, "utf8")) as ManifestClaims;
    return { before, after, manifest, ...(recovers && { plain }), isMoved: isMoved(plan, row) };
  }

  async #simplified(model: TrainedModel): Promise<string> {
    const path = this.#path(`${model.name}.onnx`);
    if (this.#made.has(path)) return path;
    writeFileSync(this.#path(`${model.name}.data.mjs`), dataModule(model));
    await this.#take(model.path, path, { simplify: {} });
    this.#made.add(path);
    return path;
  }

  async #take(model: string, output: string, step: object): Promise<void> {
    for (const path of [output, `${output}.json`]) rmSync(path, { force: true });
    step = withEffect(step);
    // Every second row is left as asked: repairs are looked at in the others.
    await runRecipe({
      model,
      output,
      steps: [step],
      asAsked: JSON.stringify(step).length % 2 === 0,
    } as unknown as Recipe);
  }

  #path(name: string): string {
    return join(this.folder, name);
  }
}

/** What the options ask to be changed besides rounding. */
function isMoved(_: Plan, { method }: Row): boolean {
  return method === "awq";
}

/** Without what has no effect beside the other options of the row: that is refused. */
export function withEffect(step: object): object {
  const [[name, options] = ["", {}]] = Object.entries(step) as [string, Record<string, unknown>][];
  const { step: found, given } = stepOf(name, options, "row");
  const { success, data } = found.options.safeParse(given);
  if (!success) return step;
  const idle = idleOptions({ title: titleOf(found), given: Object.keys(options), options: data }, { hasData: false });
  return { [name]: Object.fromEntries(Object.entries(options).filter(([key]) => !idle.has(key))) };
}
