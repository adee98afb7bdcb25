/** @file The protocol and the gate, without a worker and without ONNX Runtime. */
import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { TersorError } from "../util/errors.ts";
import { closeGate, closeGateNow, gateGuard, gateMemory } from "./native-gate.ts";
import type { HostTensor, Runtime, Session } from "./runtime.ts";
import { MemorySlots } from "./slots.ts";
import { connect, type Port, serve } from "./worker-protocol.ts";

const scalar = (value: number): HostTensor => ({ dtype: "float32", dims: [], data: Float32Array.of(value) });
const io = (name: string) => ({ name, dtype: "float32" as const, dims: [] });

/** Two ports that clone and transfer as real ones do. */
function portPair(): [Port, Port] {
  const handlers: ((message: unknown) => void)[] = [];
  const port = (own: number, other: number): Port => ({
    send: (message, transfer) => {
      const copy = structuredClone(message, { transfer: [...transfer] });
      setImmediate(() => handlers[other]?.(copy));
    },
    onMessage: (handler) => {
      handlers[own] = handler;
    },
  });
  return [port(0, 1), port(1, 0)];
}

/** y = 2x; logs when a run begins and ends; fails for a negative x. */
function doubling(log: string[]): Runtime {
  const session: Session = {
    inputs: [io("x")],
    outputs: [io("y")],
    loadMs: 1,
    run: async ({ x }) => {
      const value = Number(x?.data[0]);
      if (value < 0) throw new TersorError("runtime-failed", "negative");
      log.push(`begin ${value}`);
      await turn();
      log.push(`end ${value}`);
      return { y: scalar(2 * value) };
    },
    time: async (_, runs) => new Float64Array(runs),
    release: async () => {},
  };
  return { name: "doubling", slots: new MemorySlots(), create: async () => session };
}

it("carries out calls in order, and gives errors back with their code", async () => {
  const [here, there] = portPair();
  const log: string[] = [];
  const counts: number[] = [];
  serve(there, doubling(log));
  const { runtime } = connect(here, "doubling", { pending: (count) => counts.push(count) });
  const session = await runtime.create(new Uint8Array(3));
  const results = await Promise.allSettled([1, -1, 2].map((x) => session.run({ x: scalar(x) })));
  expect(results).toEqual([
    { status: "fulfilled", value: { y: scalar(2) } },
    { status: "rejected", reason: expect.objectContaining({ code: "runtime-failed", message: "negative" }) },
    { status: "fulfilled", value: { y: scalar(4) } },
  ]);
  expect(log).toEqual(["begin 1", "end 1", "begin 2", "end 2"]);
  expect(counts).toEqual([1, 0, 1, 2, 3, 2, 1, 0]);
});

it("rejects every call, pending and later, when the worker is gone", async () => {
  const [here, there] = portPair();
  serve(there, doubling([]));
  const { runtime, fail } = connect(here, "doubling");
  const session = await runtime.create(new Uint8Array(3));
  const pending = session.run({ x: scalar(1) });
  const reason = new TersorError("runtime-failed", "the worker ended: exit code 134");
  fail(reason);
  await expect(pending).rejects.toBe(reason);
  await expect(session.time({ x: scalar(1) }, 3)).rejects.toBe(reason);
  await expect(runtime.create(new Uint8Array(3))).rejects.toBe(reason);
});

it("closes an idle gate at once, a busy one after its call", async () => {
  const gate = gateMemory();
  let ended = 0;
  const guard = gateGuard(gate, () => ended++);
  let finish = (_: string) => {};
  const call = guard(
    () =>
      new Promise<string>((resolve) => {
        finish = resolve;
      }),
  );
  expect(closeGate(gate)).toBe(false);
  expect(closeGate(gate)).toBe(false);
  const start = performance.now();
  closeGateNow(gate, 30);
  expect(performance.now() - start).toBeGreaterThan(25);
  finish("done");
  expect(await call).toBe("done");
  expect(ended).toBe(1);
  expect(closeGate(gate)).toBe(true);
  await expect(guard(async () => "late")).rejects.toMatchObject({ code: "aborted" });
  expect(closeGate(gateMemory())).toBe(true);
});
