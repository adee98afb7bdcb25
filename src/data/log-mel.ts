/**
 * @file Log-mel features of sound: the power of short windows in bands that lie as the ear hears them, and its logarithm.
 *
 * Frame t, band m: log max(floor, Σ_k F[m, k] |Σ_n h[n] x[t · hop + n] e^(−2πikn/N)|²), h a periodic Hann window, N the size of the
 * transform, F triangles between mel frequencies. As torchaudio's MelSpectrogram and librosa's melspectrogram define them; the mel scale is
 * O'Shaughnessy's 2595 log₁₀(1 + f/700) ("htk", Davis and Mermelstein 1980) or Slaney's, linear below 1 kHz (Auditory Toolbox 1998).
 */
import { TersorError } from "../util/errors.ts";

export interface LogMelOptions {
  /** Samples a second. */
  readonly sampleRate: number;
  /** Samples of a window, and from one to the next. */
  readonly window: number;
  readonly hop: number;
  /** Samples that are transformed, zeros behind the window included: a power of 2. */
  readonly fft: number;
  readonly mels: number;
  /** Edges of the lowest and of the highest band, Hz. */
  readonly fmin: number;
  readonly fmax: number;
  readonly scale: MelScale;
  /** Triangles of the same height 1, or of the same area: 2 / width in Hz. */
  readonly area: boolean;
  /** Whether frame t is centred at t · hop, with the ends mirrored, or begins there. */
  readonly centre: boolean;
  /** The least power that is told from silence. */
  readonly floor: number;
  readonly log: LogName;
}

interface Scale {
  readonly toMel: (hertz: number) => number;
  readonly toHertz: (mel: number) => number;
}

/** Slaney: 15 mel are 1 kHz, above that 27 mel are a factor of 6.4. */
const SLANEY = { hertz: 1000, mel: 15, step: Math.log(6.4) / 27 };

const scales = {
  htk: {
    toMel: (hertz) => 2595 * Math.log10(1 + hertz / 700),
    toHertz: (mel) => 700 * (10 ** (mel / 2595) - 1),
  },
  slaney: {
    toMel: (hertz) =>
      hertz < SLANEY.hertz ? (hertz * 3) / 200 : SLANEY.mel + Math.log(hertz / SLANEY.hertz) / SLANEY.step,
    toHertz: (mel) => (mel < SLANEY.mel ? (mel * 200) / 3 : SLANEY.hertz * Math.exp(SLANEY.step * (mel - SLANEY.mel))),
  },
} as const satisfies Readonly<Record<string, Scale>>;

export type MelScale = keyof typeof scales;
export const melScales = Object.keys(scales) as MelScale[];

/** Logarithms by name, as a factor of the natural one; dB are of power. */
const logs = { ln: 1, log10: Math.LOG10E, dB: 10 * Math.LOG10E } as const;
export type LogName = keyof typeof logs;
export const logNames = Object.keys(logs) as LogName[];

/** Computes features of one kind; its tables are made once. */
export class LogMel {
  readonly options: LogMelOptions;
  /** What a frame of silence is in every band. */
  readonly silence: number;
  readonly #window: Float64Array;
  readonly #bands: readonly Band[];
  readonly #fourier: Fourier;

  /** @throws bad-data for options that contradict each other; `subject` opens the message */
  constructor(options: LogMelOptions, subject: string) {
    check(options, subject);
    this.options = options;
    const { window, fft } = options;
    this.silence = Math.log(options.floor) * logs[options.log];
    this.#window = Float64Array.from({ length: window }, (_, n) => Math.sin((Math.PI * n) / window) ** 2);
    this.#bands = melBands(options, subject);
    this.#fourier = new Fourier(fft);
  }

  /** Number of frames of so many samples: at least one. */
  frames(samples: number): number {
    const { window, hop, centre } = this.options;
    return centre ? 1 + Math.floor(samples / hop) : Math.max(1, 1 + Math.floor((samples - window) / hop));
  }

  /** Features [frames, mels], row-major. */
  compute(samples: Float32Array): Float32Array {
    const { window, hop, fft, mels, centre, floor, log } = this.options;
    const frames = this.frames(samples.length);
    const out = new Float32Array(frames * mels);
    const [real, imaginary] = [new Float64Array(fft), new Float64Array(fft)];
    const power = new Float64Array(fft / 2 + 1);
    const factor = logs[log];
    for (let t = 0; t < frames; t++) {
      const start = t * hop - (centre ? window >> 1 : 0);
      real.fill(0);
      imaginary.fill(0);
      for (let n = 0; n < window; n++) {
        const at = centre ? mirrored(start + n, samples.length) : start + n;
        real[n] = (samples[at] ?? 0) * (this.#window[n] as number);
      }
      this.#fourier.transform(real, imaginary);
      for (let k = 0; k < power.length; k++) power[k] = (real[k] as number) ** 2 + (imaginary[k] as number) ** 2;
      for (const [m, { first, weights }] of this.#bands.entries()) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += (weights[i] as number) * (power[first + i] as number);
        out[t * mels + m] = factor * Math.log(Math.max(floor, sum));
      }
    }
    return out;
  }
}

/** A place outside of 0 … length − 1, reflected at the ends without repeating them. */
function mirrored(at: number, length: number): number {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const within = ((at % period) + period) % period;
  return within < length ? within : period - within;
}

/** A row of the filter bank without the zeros around it. */
interface Band {
  readonly first: number;
  readonly weights: Float64Array;
}

function melBands({ sampleRate, fft, mels, fmin, fmax, scale, area }: LogMelOptions, subject: string): Band[] {
  const { toMel, toHertz } = scales[scale];
  const [low, high] = [toMel(fmin), toMel(fmax)];
  const edges = Array.from({ length: mels + 2 }, (_, i) => toHertz(low + ((high - low) * i) / (mels + 1)));
  return Array.from({ length: mels }, (_, m) => {
    const [left, peak, right] = edges.slice(m, m + 3) as [number, number, number];
    const height = area ? 2 / (right - left) : 1;
    const all = Array.from({ length: fft / 2 + 1 }, (_, k) => {
      const hertz = (k * sampleRate) / fft;
      return height * Math.max(0, Math.min((hertz - left) / (peak - left), (right - hertz) / (right - peak)));
    });
    const first = all.findIndex((weight) => weight > 0);
    if (first < 0)
      throw new TersorError(
        "bad-data",
        `${subject}: band ${m} of ${mels} (${left.toFixed(0)} to ${right.toFixed(0)} Hz) lies between two frequencies of the transform, ${(sampleRate / fft).toFixed(1)} Hz apart. Use fewer mels or a larger fft.`,
      );
    return { first, weights: Float64Array.from(all.slice(first, all.findLastIndex((weight) => weight > 0) + 1)) };
  });
}

function check({ sampleRate, window, fft, fmin, fmax }: LogMelOptions, subject: string): void {
  const wrong = (what: string) => new TersorError("bad-data", `${subject}: wrong options: ${what}.`);
  if (!Number.isInteger(Math.log2(fft)) || fft < window)
    throw wrong(`"fft": expected a power of 2 from ${window} (the window) on, got ${fft}`);
  if (!(fmin < fmax && fmax <= sampleRate / 2))
    throw wrong(
      `"fmin", "fmax": expected a range up to half the sample rate (${sampleRate / 2} Hz), got ${fmin} to ${fmax}`,
    );
}

/** The discrete Fourier transform of one size, in place: radix 2 (Cooley and Tukey 1965). */
class Fourier {
  readonly #cosines: Float64Array;
  readonly #sines: Float64Array;
  readonly #reversed: Uint32Array;

  constructor(size: number) {
    this.#cosines = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.#sines = Float64Array.from({ length: size / 2 }, (_, k) => -Math.sin((2 * Math.PI * k) / size));
    this.#reversed = new Uint32Array(size);
    for (let i = 1; i < size; i++)
      this.#reversed[i] = ((this.#reversed[i >> 1] as number) >> 1) | (i % 2 ? size >> 1 : 0);
  }

  transform(real: Float64Array, imaginary: Float64Array): void {
    const size = real.length;
    for (const values of [real, imaginary])
      for (let i = 0; i < size; i++) {
        const j = this.#reversed[i] as number;
        if (i < j) [values[i], values[j]] = [values[j] as number, values[i] as number];
      }
    for (let half = 1; half < size; half *= 2)
      for (let block = 0; block < size; block += 2 * half)
        for (let k = 0; k < half; k++) {
          const turn = (k * size) / (2 * half);
          const [c, s] = [this.#cosines[turn] as number, this.#sines[turn] as number];
          const [a, b] = [block + k, block + k + half];
          const [x, y] = [real[b] as number, imaginary[b] as number];
          const [u, v] = [x * c - y * s, x * s + y * c];
          real[b] = (real[a] as number) - u;
          imaginary[b] = (imaginary[a] as number) - v;
          real[a] = (real[a] as number) + u;
          imaginary[a] = (imaginary[a] as number) + v;
        }
  }
}
