/** @file Bytes in, bytes out: a server that shrinks what is uploaded. */
import { quantize, simplify, TersorError, toBytes } from "tersor";

/** The smaller model, or a sentence that says what is wrong with the one that was given. */
export async function shrink(upload: Uint8Array): Promise<Uint8Array | string> {
  try {
    const { model } = await simplify(upload);
    const { model: small } = await quantize(model, { dtype: "int8" });
    return toBytes(small);
  } catch (error) {
    if (error instanceof TersorError) return `${error.code}: ${error.message}`;
    throw error;
  }
}
