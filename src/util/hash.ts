/** @file A small hash over bytes, the same in Node and in the browser. Tells contents apart; not for security. */

/** FNV-1a, 64 bits, of bytes that come in chunks, as 16 hex digits (Fowler, Noll and Vo; RFC 9923). */
export function fnv1a64(chunks: Iterable<Uint8Array>): string {
  let high = 0xcbf29ce4;
  let low = 0x84222325;
  for (const chunk of chunks)
    for (let i = 0; i < chunk.length; i++) {
      // Times the prime 2^40 + 0x1b3, in two halves: the products stay below 2^53.
      low = (low ^ (chunk[i] as number)) >>> 0;
      const product = low * 0x1b3;
      high = (Math.imul(high, 0x1b3) + (low << 8) + Math.floor(product / 0x100000000)) >>> 0;
      low = product >>> 0;
    }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}
