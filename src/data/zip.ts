/**
 * @file Reads zip archives of plain files (PKWARE's APPNOTE 6.3.9, with zip64): every length is held against the archive, and what was
 * unpacked against its checksum.
 */
import { inflateSync } from "fflate";
import { dataLimits } from "./limits.ts";

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly length: number;
  /** Of the local header. */
  readonly offset: number;
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;
const ENCRYPTED = 1;
/** Deflate makes at most 1032 bytes out of one. */
const MOST_TIMES = 1032;
const utf8 = new TextDecoder();

/** The files by name. @throws an Error that says what is wrong, and names the file where it is one */
export function readZip(bytes: Uint8Array): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries = entriesOf(bytes, view);
  const most = Math.max(dataLimits.unpackedBytes, bytes.length * dataLimits.unpackedTimes);
  let total = 0;
  for (const { name, packed, length } of entries) {
    total += length;
    if (length > packed * MOST_TIMES + 64) throw new Error(`"${name}" claims ${length} bytes out of ${packed}`);
    if (total > most)
      throw new Error(
        `it unpacks to more than ${most} bytes (from ${bytes.length}). Save it uncompressed: numpy.savez`,
      );
  }
  const files = new Map<string, Uint8Array>();
  for (const entry of entries) {
    if (files.has(entry.name)) throw new Error(`"${entry.name}" stands in it twice`);
    files.set(entry.name, contentOf(entry, bytes, view));
  }
  return files;
}

function entriesOf(bytes: Uint8Array, view: DataView): Entry[] {
  const end = endOf(view);
  let directoryEnd = end;
  let [count, at] = [view.getUint16(end + 10, true), view.getUint32(end + 16, true)];
  if (end >= 20 && view.getUint32(end - 20, true) === LOCATOR_64) {
    const end64 = uint64(view, end - 12);
    if (end64 + 56 > end || view.getUint32(end64, true) !== END_64) throw damaged("its directory");
    directoryEnd = end64;
    [count, at] = [uint64(view, end64 + 32), uint64(view, end64 + 48)];
  }
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== CENTRAL) throw damaged("its directory");
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => view.getUint16(at + o, true)) as [
      number,
      number,
      number,
    ];
    const next = at + 46 + nameLength + extraLength + commentLength;
    if (next > end) throw damaged("its directory");
    const name = utf8.decode(bytes.subarray(at + 46, at + 46 + nameLength));
    if (view.getUint16(at + 8, true) & ENCRYPTED) throw new Error(`"${name}" is encrypted`);
    const [packed, length, offset] = sizesOf(view, at, at + 46 + nameLength, extraLength);
    const [method, crc] = [view.getUint16(at + 10, true), view.getUint32(at + 16, true)];
    entries.push({ name, method, crc, packed, length, offset });
    at = next;
  }
  if (at !== directoryEnd) throw damaged("its directory");
  return entries;
}

/** Where the record at the end begins: a comment may follow it. */
function endOf(view: DataView): number {
  const first = Math.max(0, view.byteLength - 22 - 0xffff);
  for (let at = view.byteLength - 22; at >= first; at--)
    if (view.getUint32(at, true) === END && at + 22 + view.getUint16(at + 20, true) === view.byteLength) return at;
  throw new Error("expected a zip archive, got something else or a part of one");
}

/** Packed size, size and offset: those that do not fit into 32 bits stand in an extra field. */
function sizesOf(view: DataView, at: number, extra: number, extraLength: number): [number, number, number] {
  const sizes = [view.getUint32(at + 20, true), view.getUint32(at + 24, true), view.getUint32(at + 42, true)];
  for (let field = extra; field + 4 <= extra + extraLength; ) {
    const [tag, length] = [view.getUint16(field, true), view.getUint16(field + 2, true)];
    let value = field + 4;
    // In the order: size, packed size, offset.
    for (const which of tag === 1 ? [1, 0, 2] : [])
      if (sizes[which] === 0xffffffff && value + 8 <= field + 4 + length) {
        sizes[which] = uint64(view, value);
        value += 8;
      }
    field += 4 + length;
  }
  return sizes as [number, number, number];
}

function contentOf(
  { name, method, crc, packed, length, offset }: Entry,
  bytes: Uint8Array,
  view: DataView,
): Uint8Array {
  if (offset + 30 > bytes.length || view.getUint32(offset, true) !== LOCAL) throw damaged(`"${name}"`);
  const nameEnd = offset + 30 + view.getUint16(offset + 26, true);
  const start = nameEnd + view.getUint16(offset + 28, true);
  if (utf8.decode(bytes.subarray(offset + 30, nameEnd)) !== name) throw damaged(`"${name}"`);
  if (start + packed > bytes.length) throw damaged(`"${name}"`);
  const source = bytes.subarray(start, start + packed);
  if (method !== STORED && method !== DEFLATED)
    throw new Error(`"${name}" is packed by method ${method}, not by deflate`);
  const content = method === STORED ? source : inflateSync(source, { out: new Uint8Array(length) });
  if (content.length !== length || crc32(content) !== crc)
    throw new Error(`"${name}" is damaged: its checksum does not fit`);
  return content;
}

function damaged(what: string): Error {
  return new Error(`${what} is damaged or cut short`);
}

function uint64(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged("its directory");
  return Number(value);
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 of ISO 3309, as zip has it. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crcTable[(crc ^ (bytes[i] as number)) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}
