/** @file A small hash over bytes, the same in Node and in the browser. Tells contents apart; not for security. */

/** FNV-1a, 64 bits, of bytes that come in chunks, as 16 hex digits (Fowler, Noll and Vo; RFC 9923). */
export function fnv1a64(chunks: Iterable<Uint8Array>): string {
  let high = 0xcbf29ce4 | 0;
  let low = 0x84222325 | 0;
  for (const chunk of chunks)
    for (let i = 0; i < chunk.length; i++) {
      // Times the prime 2^40 + 0x1b3, with `low` in halves of 16 bits: nothing leaves the 32-bit integers.
      low ^= chunk[i] as number;
      const low16 = Math.imul(low & 0xffff, 0x1b3);
      const high16 = Math.imul(low >>> 16, 0x1b3) + (low16 >>> 16);
      high = (Math.imul(high, 0x1b3) + (low << 8) + (high16 >>> 16)) | 0;
      low = (high16 << 16) | (low16 & 0xffff);
    }
  return hex(high) + hex(low);
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
