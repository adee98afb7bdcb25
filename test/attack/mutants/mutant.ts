/** @file The mutants by number: a model of a kind, damaged in one to three ways, and what is done to it. The same every time. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeMessage } from "../../../src/proto/decode.ts";
import type { ModelProto } from "../../../src/proto/messages.ts";
import { MemorySource } from "../../../src/util/bytes.ts";
import { Rng } from "../../../src/util/rng.ts";
import { encodeProto } from "../../wire.ts";
import { type Attempt, attempts, recipes } from "./commands.ts";
import { type Subject, subjects } from "./models.ts";
import { bytewise, structural } from "./mutations.ts";
import { partsOf, pick } from "./parts.ts";

export interface Mutant {
  readonly number: number;
  readonly subject: Subject;
  /** What was done to it. */
  readonly damage: readonly string[];
  readonly bytes: Uint8Array;
  readonly args: readonly string[];
}

const deck = attempts.flatMap((attempt) => new Array<Attempt>(attempt.weight ?? 1).fill(attempt));
/** One mutant of six is damaged in its bytes, which mostly ends in the decoder. */
const BYTEWISE = 6;

export function mutant(seed: number, number: number): Mutant {
  const rng = new Rng(seed, `mutant ${number}`);
  const subject = pick(subjects, rng) as Subject;
  const damage: string[] = [];
  let { bytes } = subject;
  const ways = rng.int(2) ? 1 : 2 + rng.int(2);
  if (rng.int(BYTEWISE) === 0)
    for (let i = 0; i < ways && bytes.length > 1; i++) {
      const [name, edit] = pick(Object.entries(bytewise), rng) as (typeof bytewiseRows)[number];
      damage.push(name);
      bytes = edit(bytes, rng);
    }
  else {
    const model = decodeMessage(new MemorySource(bytes), "ModelProto") as ModelProto;
    for (let i = 0; i < ways; i++) {
      const [name, edit] = pick(Object.entries(structural), rng) as (typeof structuralRows)[number];
      damage.push(name);
      edit(partsOf(model), rng);
    }
    bytes = encodeProto(model, "ModelProto");
  }
  return { number, subject, damage, bytes, args: (pick(deck, rng) as Attempt).args };
}

const bytewiseRows = Object.entries(bytewise);
const structuralRows = Object.entries(structural);

/** Fills a folder with the mutant, the sound model, samples and recipes, and nothing else. */
export function lay(folder: string, { subject, bytes }: Mutant): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "m.onnx"), bytes);
  writeFileSync(join(folder, "good.onnx"), subject.bytes);
  writeFileSync(join(folder, "d.jsonl"), subject.samples);
  for (const [name, recipe] of Object.entries(recipes)) writeFileSync(join(folder, name), JSON.stringify(recipe));
}
