/** @file What to say of samples that a model answers NaN to. */
const SHOWN = 3;

/** @param samples ids, with the part that holds NaN itself, where one does */
export function nanNotes(samples: ReadonlyMap<string, string | undefined>, whose: string): string[] {
  if (samples.size === 0) return [];
  const named = [...samples]
    .slice(0, SHOWN)
    .map(([id, part]) => `"${id}"${part === undefined ? "" : ` (${part} holds NaN)`}`);
  const more = samples.size > SHOWN ? `, … ${samples.size - SHOWN} more` : "";
  const count = samples.size === 1 ? "1 sample" : `${samples.size} samples`;
  return [
    `${whose} answers NaN to ${count}, which metrics count as wrong and SQNR leaves out: ${named.join(", ")}${more}`,
  ];
}
