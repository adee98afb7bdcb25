/** @file Limits for data and made-up inputs, in one place. Real ones stay far below them. */
export const dataLimits = {
  /** Bytes that an archive may hold unpacked, whatever it says. */
  unpackedBytes: 2 ** 28,
  /** An archive may hold so many times its own bytes, where that is more. NumPy's files rarely have ten times. */
  unpackedTimes: 100,
  /** Bytes of the inputs of one run, made up or joined to a batch. */
  inputBytes: 2 ** 30,
  /** Samples a second in a WAV file: from what measuring devices write to the highest rate of studios. */
  sampleRate: [1000, 768_000],
  /** Samples of one recording at its new rate: about an hour and a half at 48 kHz. */
  soundSamples: 2 ** 28,
} as const;
