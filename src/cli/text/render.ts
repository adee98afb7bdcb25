/** @file How results look in a terminal: units, tables, truncation, colour. Pure text functions. */
import picocolors from "picocolors";

/** Colours, or functions that leave text alone. See {@link palette}. */
export type Palette = Pick<ReturnType<typeof picocolors.createColors>, "bold" | "dim" | "red" | "green" | "yellow">;

/** The colours for a stream: NO_COLOR and TERM=dumb switch them off, FORCE_COLOR on, else whether it is a terminal decides. */
export function palette(isTty: boolean, env: Readonly<Record<string, string | undefined>>): Palette {
  const { NO_COLOR, FORCE_COLOR, TERM } = env;
  const forced = FORCE_COLOR === undefined ? undefined : FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return picocolors.createColors(!NO_COLOR && (forced ?? (isTty && TERM !== "dumb")));
}

/** `10.8 MB`: decimal units, three significant digits. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, ["B", "kB", "MB", "GB", "TB"]);
}

/** `2.71 M`: a count with k, M, G, T; three significant digits. */
export function formatCount(count: number): string {
  return scaled(count, ["", "k", "M", "G", "T"]);
}

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  // 999.5 would round to 1000 of the smaller unit.
  while (Math.abs(rest) >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  const text = unit === 0 ? String(Math.round(rest)) : digits(rest);
  return `${text} ${units[unit]}`.trimEnd();
}

/** Three significant digits, never in exponent form for sizes from 0.001 to 999. */
function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** `1.24 ms`, `830 µs`, `2.10 s`. */
export function formatMs(ms: number): string {
  if (ms >= 999.5) return `${digits(ms / 1000)} s`;
  return ms >= 0.9995 ? `${digits(ms)} ms` : `${digits(ms * 1000)} µs`;
}

/** `2:05` or `1:02:05`: minutes and seconds that something still takes. */
export function formatDuration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (value: number) => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** `−73 %`, `+1.2 %`: the change from one size to another. */
export function formatChange(before: number, after: number): string {
  if (before === 0) return after === 0 ? "±0 %" : "new";
  const percent = (after / before - 1) * 100;
  const text = Math.abs(percent) >= 9.95 ? Math.abs(percent).toFixed(0) : Math.abs(percent).toFixed(1);
  if (Number(text) === 0) return "±0 %";
  return `${percent < 0 ? "−" : "+"}${text} %`;
}

/** `34.2 dB`, `∞ dB`, `−∞ dB`; `–` when it was not measured. */
export function formatDb(db: number | undefined): string {
  if (db === undefined || Number.isNaN(db)) return "–";
  if (!Number.isFinite(db)) return `${db < 0 ? "−" : ""}∞ dB`;
  return `${db.toFixed(1).replace("-", "−")} dB`;
}

/** `64×3×3×3`; `scalar` without dims. */
export function formatDims(dims: readonly (number | string | null)[]): string {
  return dims.length === 0 ? "scalar" : dims.map((dim) => dim ?? "?").join("×");
}

/** `3 layers`, `1 layer`. */
export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : many}`;
}

const escapes = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, "g");
/** Emoji and East Asian characters fill two cells. */
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}]/u;
const combining = /\p{Mn}/u;

/** Cells that a text fills in a terminal. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text.replace(escapes, "")) {
    if (!combining.test(character)) width += wide.test(character) ? 2 : 1;
  }
  return width;
}

/** Controls, line separators, and what turns the direction of text. */
const control = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Text from a file made safe to print on one line: control characters are shown, not obeyed. */
export function printable(text: string): string {
  return text.replace(control, (character) => `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`);
}

/** The text, or its beginning and end with `…` between, in at most `width` cells. */
export function truncateMiddle(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width <= 1) return width === 1 ? "…" : "";
  const characters = [...text];
  const tail = Math.floor((width - 1) / 2);
  return `${fitting(characters, width - 1 - tail)}…${fitting(characters.toReversed(), tail, true)}`;
}

function fitting(characters: readonly string[], width: number, reversed = false): string {
  let used = 0;
  const kept: string[] = [];
  for (const character of characters) {
    used += widthOf(character);
    if (used > width) break;
    kept.push(character);
  }
  return (reversed ? kept.toReversed() : kept).join("");
}

/** One column of a table. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** May be truncated in the middle when the table is too wide, down to `min` cells (12 when absent). */
  readonly shrink?: boolean;
  readonly min?: number;
  /** Left out where the table is too wide even when all that may shrink has. */
  readonly optional?: boolean;
}

const GAP = "  ";
const uncoloured = picocolors.createColors(false);

/**
 * Aligned columns, titles first, without lines. Columns that may shrink give up width so that a row fits in `width` cells.
 * @param rows one text per column, already safe to print
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { width = Number.POSITIVE_INFINITY, colors = uncoloured }: { width?: number; colors?: Palette } = {},
): string {
  const widths = columns.map(({ title }, at) => Math.max(widthOf(title), ...rows.map((row) => widthOf(row[at] ?? ""))));
  const left = shrink(columns, widths, width) > 0 ? columns.findLastIndex(({ optional }) => optional) : -1;
  if (left >= 0) {
    const without = <T>(cells: readonly T[]) => cells.filter((_, at) => at !== left);
    return renderTable(without(columns), rows.map(without), { width, colors });
  }
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => {
        const room = widths[at] as number;
        const column = columns[at] as Column;
        const text = truncateMiddle(cell, room);
        const padding = " ".repeat(Math.max(0, room - widthOf(text)));
        return column.align === "right" ? padding + text : text + padding;
      })
      .join(GAP)
      .trimEnd();
  const head = colors.dim(line(columns.map((column) => column.title)));
  return [head, ...rows.map((row) => line(columns.map((_, at) => row[at] ?? "")))].join("\n");
}

/** Takes cells from the widest column that may shrink, until the table fits or none can give more. Gives the cells that are too many still. */
function shrink(columns: readonly Column[], widths: number[], width: number): number {
  let excess = widths.reduce((sum, each) => sum + each, GAP.length * (widths.length - 1)) - width;
  while (excess > 0) {
    let widest = -1;
    columns.forEach((column, at) => {
      const room = widths[at] as number;
      if (column.shrink && room > (column.min ?? 12) && room > (widths[widest] ?? 0)) widest = at;
    });
    if (widest < 0) return excess;
    widths[widest] = (widths[widest] as number) - 1;
    excess--;
  }
  return 0;
}
