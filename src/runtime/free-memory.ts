/** @file Gives memory back at once, not when garbage is collected. */
import type { HostTensor } from "../tensor/host-tensor.ts";

/** An end whose other end is closed: what is sent through it goes nowhere, and its memory with it. */
let nowhere: InstanceType<typeof MessageChannel>["port1"] | undefined;

/**
 * Frees a tensor that nobody uses any more. Large tensors that are replaced again and again would otherwise pile up until a collection,
 * and each new one would take fresh pages from the system. (ArrayBuffer.prototype.transfer does the same, from Node 22 on.)
 */
export function freeMemory({ data }: HostTensor): void {
  if (!ArrayBuffer.isView(data)) return;
  const { buffer, byteLength } = data;
  if (!(buffer instanceof ArrayBuffer) || byteLength !== buffer.byteLength) return;
  if (!nowhere) {
    const { port1, port2 } = new MessageChannel();
    port2.close();
    nowhere = port1;
  }
  nowhere.postMessage(null, [buffer]);
}
