/** @file Limits for data and made-up inputs, in one place. Real ones stay far below them. */
export const dataLimits = {
  /** Bytes that an archive may hold unpacked, whatever it says. */
  unpackedBytes: 2 ** 28,
  /** An archive may hold so many times its own bytes, where that is more. NumPy's files rarely have ten times. */
  unpackedTimes: 100,
  /** Numbers in the made-up inputs of one run. */
  madeUpNumbers: 2 ** 27,
  /** Samples in one run, and bytes of their inputs together. */
  batchRows: 2 ** 20,
  batchBytes: 2 ** 32,
  /** Samples a second in a WAV file: from what measuring devices write to the highest rate of studios. */
  sampleRate: [1000, 768_000],
  /** Samples of one recording at its new rate: about an hour and a half at 48 kHz. */
  soundSamples: 2 ** 28,
} as const;
