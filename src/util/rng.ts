/**
 * @file Counter-based random numbers: a value depends on (seed, key, index) alone, never on what was drawn before, so the
 * same seed gives the same bytes whatever the order, the chunking or the number of threads.
 *
 * The hash is C. Wellons' two-multiply xorshift construction ("lowbias32", https://github.com/skeeto/hash-prospector) on
 * the counter; the seed, the key and the counter's high word become two words, one added before the first multiplication and
 * one mixed in after it, so that two streams are not shifts of each other. The kernels compute the same in SIMD.
 */

const TWO_32 = 2 ** 32;

/** lowbias32: a bijection of the 32-bit integers that changes about half of the output bits per input bit. */
function mix(value: number): number {
  let x = value;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0xd35a2d97);
  return x ^ (x >>> 15);
}

/** The two words that a seed, a key and the high word of an index contribute to the hash. */
export interface StreamKeys {
  readonly k1: number;
  readonly k2: number;
}

/**
 * Keys of the 2^32 values whose index has the high word `high`.
 * @param seed any safe integer @param key a 32-bit key, see {@link keyOf}
 */
export function streamKeys(seed: number, key: number, high = 0): StreamKeys {
  const low = mix((seed ^ 0x9e3779b9) | 0);
  const seeded = mix(low + Math.floor(seed / TWO_32) + 0x7f4a7c15);
  const keyed = mix(seeded ^ mix(key + 0x6c62272e));
  const k1 = mix(keyed + Math.imul(high, 0x85ebca6b) + 0x165667b1);
  return { k1, k2: mix(k1 ^ (keyed + 0x27d4eb2f)) };
}

/** The hash of the low word of an index under its stream's keys, as an unsigned 32-bit integer. */
export function hashLow(low: number, k1: number, k2: number): number {
  let x = (low + k1) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad) ^ k2;
  x = Math.imul(x ^ (x >>> 15), 0xd35a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}

/** 32 random bits for element `index` (a non-negative safe integer) of the stream (seed, key). */
export function hash32(seed: number, key: number, index: number): number {
  const { k1, k2 } = streamKeys(seed, key, Math.floor(index / TWO_32));
  return hashLow(index >>> 0, k1, k2);
}

/** A multiple of 2^-24 in [0, 1), uniform, for element `index` of the stream (seed, key). */
export function uniform(seed: number, key: number, index: number): number {
  return (hash32(seed, key, index) >>> 8) / 0x1000000;
}

/** The 32-bit key of a name (FNV-1a over its UTF-16 units, then mixed). */
export function keyOf(name: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return mix(h) >>> 0;
}

/** A sequence of random numbers: the stream (seed, key) read in order. */
export class Rng {
  readonly #seed: number;
  readonly #key: number;
  #keys: StreamKeys;
  #next = 0;

  /** @param seed any safe integer @param stream a name that separates users of the same seed */
  constructor(seed: number, stream = "") {
    this.#seed = seed;
    this.#key = keyOf(stream);
    this.#keys = streamKeys(seed, this.#key);
  }

  /** 32 random bits. */
  bits(): number {
    const low = this.#next % TWO_32;
    if (low === 0) this.#keys = streamKeys(this.#seed, this.#key, Math.floor(this.#next / TWO_32));
    this.#next++;
    return hashLow(low, this.#keys.k1, this.#keys.k2);
  }

  /** Uniform in [0, 1), a multiple of 2^-53. */
  uniform(): number {
    const high = this.bits() >>> 5;
    return (high * 0x4000000 + (this.bits() >>> 6)) / 2 ** 53;
  }

  /** A uniform integer in [0, n), n in [1, 2^53]; at most 2^-21 of bias for n up to 2^32. */
  int(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** A standard normal number (Box and Muller, 1958). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Shuffles in place (Fisher and Yates) and returns the array. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    const at: { [index: number]: unknown } = items;
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const held = at[i];
      at[i] = at[j];
      at[j] = held;
    }
    return items;
  }
}
