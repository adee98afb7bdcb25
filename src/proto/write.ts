/** @file Puts an encoded message somewhere: a sink, or a Blob. Files are written by src/node. */
import { BlobSource } from "../util/blob-source.ts";
import { type ByteSink, chunksOf, SliceSource } from "../util/bytes.ts";
import { invariant } from "../util/errors.ts";
import type { EncodedMessage } from "./encode.ts";

/** The bytes of a message in order; tensors are read or computed as they come. A chunk is valid only until the next one is asked for. */
export function* chunksOfMessage(message: EncodedMessage): Iterable<Uint8Array> {
  let written = 0;
  for (const part of message.parts)
    for (const chunk of part instanceof Uint8Array ? [part] : chunksOf(part)) {
      written += chunk.byteLength;
      yield chunk;
    }
  invariant(written === message.byteLength, `a message of ${message.byteLength} bytes was written as ${written}`);
}

/** Writes a message to a sink, such as one over the synchronous access handle of a browser's private file system. */
export function writeTo(message: EncodedMessage, sink: ByteSink): void {
  for (const chunk of chunksOfMessage(message)) sink.write(chunk);
}

/** A message as a Blob, to be downloaded or stored. What comes unchanged from another Blob is referred to, not copied. */
export function toBlob(message: EncodedMessage): Blob {
  const parts: Blob[] = [];
  for (const part of message.parts) {
    if (part instanceof SliceSource && part.parent instanceof BlobSource) {
      parts.push(part.parent.blob.slice(part.offset, part.offset + part.byteLength));
      continue;
    }
    // A Blob copies its bytes at once, so that chunks may be reused and leave the heap.
    for (const chunk of part instanceof Uint8Array ? [part] : chunksOf(part)) parts.push(new Blob([chunk]));
  }
  return new Blob(parts, { type: "application/octet-stream" });
}
