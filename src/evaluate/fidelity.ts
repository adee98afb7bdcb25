/** @file Fidelity: how close a model's outputs are to those of the original, without labels. */
import { eachReal, hasPositions, type Positions, paddingOf } from "../data/padding.ts";
import { describeTensor, type HostTensor, numbersOf } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { own } from "../util/own.ts";

/** Of one output, over all samples that were added. */
export interface Fidelity {
  readonly samples: number;
  /** Elements compared, those that are not finite included, those of padding not. */
  readonly elements: number;
  /** Signal to quantization noise, 10·log10(Σr² / Σ(r−c)²), in dB. Infinity when equal, −Infinity when `broken` is not 0. */
  readonly sqnr: number;
  /** Cosine of the angle between all values of the two, −1 to 1; 1 when both are zero, 0 when one is. */
  readonly cosine: number;
  /** max |r − c|. Infinity when `broken` is not 0. */
  readonly maxAbsError: number;
  /** `maxAbsError` as a share of max |r|: 0 when equal, Infinity when only the reference is all zero. */
  readonly maxRelativeError: number;
  /** Elements that are NaN or infinite in the reference. Left out of the sums above. */
  readonly nonFinite: number;
  /** Elements that are NaN or infinite in one and not the same in the other. Left out of the cosine. */
  readonly broken: number;
}

/** What was left out of one output as padding. */
export interface PaddingLeftOut {
  /** The input that says so. */
  readonly mask: string;
  readonly output: string;
  readonly positions: number;
  /** Of all positions. */
  readonly of: number;
}

/** Compares the outputs of two models, sample by sample. What an attention mask marks as padding does not count. */
export class FidelityMeter {
  readonly #outputs = new Map<string, Sums>();
  readonly #positions: (output: string) => Positions;
  readonly #leftOut = new Map<string, { mask: string; positions: number; of: number }>();

  /** @param positions whether an output has a place for each position, where that is known; its sizes decide elsewhere */
  constructor(positions: (output: string) => Positions = () => undefined) {
    this.#positions = positions;
  }

  /**
   * Adds one sample (or batch).
   * @param inputs of the run, among which there may be a mask
   * @throws shape-mismatch when the candidate lacks an output or gives another shape,
   * bad-data for outputs that are not numbers.
   */
  add(
    reference: Readonly<Record<string, HostTensor>>,
    candidate: Readonly<Record<string, HostTensor>>,
    inputs: Readonly<Record<string, HostTensor>> = {},
  ): void {
    const padding = paddingOf(inputs);
    for (const [name, wanted] of Object.entries(reference)) {
      const given = own(candidate, name);
      if (
        !given ||
        given.dims.length !== wanted.dims.length ||
        given.dims.some((dim, axis) => dim !== wanted.dims[axis])
      )
        throw new TersorError(
          "shape-mismatch",
          `output "${name}": the two models do not agree: expected ${describeTensor(wanted)}, got ${given ? describeTensor(given) : `none (it has ${Object.keys(candidate).join(", ")})`}. Compare models with the same outputs on the same inputs.`,
        );
      const sums = this.#outputs.get(name) ?? new Sums();
      this.#outputs.set(name, sums);
      const [r, c] = [wanted, given].map((tensor) => numbersOf(tensor, `output "${name}"`)) as [Numbers, Numbers];
      if (!padding || !hasPositions(wanted.dims, padding, this.#positions(name))) {
        sums.add(r, c);
        continue;
      }
      sums.begin();
      eachReal(wanted.dims, padding, (from, to) => sums.addRange(r, c, from, to));
      const so = this.#leftOut.get(name) ?? { mask: padding.name, positions: 0, of: 0 };
      this.#leftOut.set(name, { ...so, positions: so.positions + padding.count, of: so.of + padding.real.length });
    }
  }

  /** What did not count; of outputs all of whose positions did, nothing. */
  padding(): readonly PaddingLeftOut[] {
    return [...this.#leftOut].map(([output, so]) => ({ ...so, output }));
  }

  /** By output name, in the order in which the reference gave them. */
  result(): Readonly<Record<string, Fidelity>> {
    return Object.fromEntries([...this.#outputs].map(([name, sums]) => [name, sums.result()]));
  }
}

/** Fidelity of two lists of numbers of equal length. */
export function fidelityOf(reference: ArrayLike<number>, candidate: ArrayLike<number>): Fidelity {
  const sums = new Sums();
  sums.add(reference, candidate);
  return sums.result();
}

type Numbers = ArrayLike<number>;

class Sums {
  #samples = 0;
  #elements = 0;
  #nonFinite = 0;
  #broken = 0;
  #rr = 0;
  #cc = 0;
  #rc = 0;
  #noise = 0;
  #maxError = 0;
  #maxReference = 0;

  add(reference: Numbers, candidate: Numbers): void {
    this.begin();
    this.addRange(reference, candidate, 0, reference.length);
  }

  /** One more sample, whose elements follow. */
  begin(): void {
    this.#samples++;
  }

  addRange(reference: Numbers, candidate: Numbers, from: number, to: number): void {
    this.#elements += to - from;
    for (let i = from; i < to; i++) {
      const r = reference[i] as number;
      const c = candidate[i] as number;
      const error = r - c;
      // One test for both: the difference is finite only where both are (or where it overflows: as bad).
      if (!Number.isFinite(error)) {
        if (!Number.isFinite(r)) this.#nonFinite++;
        if (!Object.is(r, c)) this.#broken++;
        continue;
      }
      this.#rr += r * r;
      this.#cc += c * c;
      this.#rc += r * c;
      this.#noise += error * error;
      const size = Math.abs(error);
      if (size > this.#maxError) this.#maxError = size;
      const magnitude = Math.abs(r);
      if (magnitude > this.#maxReference) this.#maxReference = magnitude;
    }
  }

  result(): Fidelity {
    const isBroken = this.#broken > 0;
    const maxAbsError = isBroken ? Number.POSITIVE_INFINITY : this.#maxError;
    return {
      samples: this.#samples,
      elements: this.#elements,
      sqnr: isBroken ? Number.NEGATIVE_INFINITY : decibels(this.#rr, this.#noise),
      cosine: cosine(this.#rr, this.#cc, this.#rc),
      maxAbsError,
      maxRelativeError: maxAbsError === 0 ? 0 : maxAbsError / this.#maxReference,
      nonFinite: this.#nonFinite,
      broken: this.#broken,
    };
  }
}

function decibels(signal: number, noise: number): number {
  return noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
}

function cosine(rr: number, cc: number, rc: number): number {
  if (rr === 0 || cc === 0) return rr === cc ? 1 : 0;
  return Math.max(-1, Math.min(1, rc / (Math.sqrt(rr) * Math.sqrt(cc))));
}
