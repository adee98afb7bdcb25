/** @file The worker keeps this thread alive, can be ended at any time, and never takes the process with it. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { tinyModel } from "../../test/tiny-model.ts";
import type { HostTensor } from "./runtime.ts";
import { workerRuntime } from "./worker-runtime.ts";

const io = (name: string) => ({ name, dims: ["n", "n"] });
const square = tinyModel("MatMul", [io("a"), io("b")], [io("c")]);
/** n x n matrices: 2n³ operations, about 0.3 s for n = 2000 on one core. */
const matrices = (n: number) => {
  const matrix: HostTensor = { dtype: "float32", dims: [n, n], data: new Float32Array(n * n).fill(0.5) };
  return { a: matrix, b: matrix };
};
const small = matrices(2);

const runtimeFor = (name: "ort-node" | "ort-web") => {
  const runtime = workerRuntime(name);
  onTestFinished(() => runtime.close());
  return runtime;
};
const names = ["ort-node", "ort-web"] as const;

it.each(names)("%s: timers fire while a run goes on", async (name) => {
  const session = await runtimeFor(name).create(square, { threads: 1 });
  let ticks = 0;
  let done = false;
  const running = session.time(matrices(1500), 2).finally(() => {
    done = true;
  });
  while (!done) {
    await sleep(5);
    ticks++;
  }
  const [first = 0, second = 0] = await running;
  expect(first + second).toBeGreaterThan(20);
  expect(ticks).toBeGreaterThan((first + second) / 25);
});

it.each(names)("%s: an aborted run rejects at once, ends the worker, and a new model starts another", async (name) => {
  const runtime = runtimeFor(name);
  const session = await runtime.create(square, { threads: 1 });
  const controller = new AbortController();
  const start = performance.now();
  const running = session.time(matrices(1500), 1000, { signal: controller.signal });
  const queued = session.run(small);
  setTimeout(() => controller.abort(), 100);
  await expect(running).rejects.toMatchObject({ code: "aborted", message: `${name}: the call was aborted.` });
  expect(performance.now() - start).toBeLessThan(3000);
  await expect(queued).rejects.toMatchObject({ code: "aborted" });
  await expect(session.run(small)).rejects.toMatchObject({ code: "aborted" });
  const again = await runtime.create(square);
  expect((await again.run(small)).c?.data).toEqual(new Float32Array(4).fill(0.5));
});

it.each(names)("%s: close rejects what is pending, and waits for the thread", async (name) => {
  const runtime = runtimeFor(name);
  const session = await runtime.create(square, { threads: 1 });
  const running = expect(session.run(matrices(1500))).rejects.toMatchObject({
    code: "aborted",
    message: `${name}: the runtime was closed.`,
  });
  await sleep(20);
  await runtime.close();
  await running;
  await runtime.close();
});

it("keeps sessions apart and in order", async () => {
  const runtime = runtimeFor("ort-node");
  const sessions = await Promise.all([0, 1, 2].map(() => runtime.create(square)));
  const [first] = sessions;
  const outputs = await Promise.all(sessions.map((session, i) => session.run(matrices(i + 1))));
  expect(outputs.map(({ c }) => c?.dims)).toEqual([
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
  await first?.release();
  await expect(first?.run(small)).rejects.toThrow("the session was released");
  expect((await sessions[1]?.run(small))?.c?.dims).toEqual([2, 2]);
});

it("writes the optimized model, which loads again; wasm says that it cannot", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tersor-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "optimized.onnx");
  const runtime = runtimeFor("ort-node");
  await runtime.create(square, { optimization: "basic", optimizedModelPath: path });
  expect(existsSync(path)).toBe(true);
  expect((await runtime.create({ path })).inputs.map((input) => input.name)).toEqual(["a", "b"]);
  await expect(runtimeFor("ort-web").create(square, { optimizedModelPath: path })).rejects.toMatchObject({
    code: "runtime-failed",
    message: expect.stringContaining("no file system"),
  });
});

it("refuses another number of wasm threads than the first session's", async () => {
  const runtime = runtimeFor("ort-web");
  await runtime.create(square, { threads: 1 });
  await runtime.create(square);
  await expect(runtime.create(square, { threads: 2 })).rejects.toThrow("expected 1, got 2. Use another worker.");
});

it.each([
  ["leaves by process.exit while the worker runs", "process.exit(42)", 42],
  ["ends by itself when the worker is idle", "await running", 0],
  ["ends by itself after an abort", "controller.abort(); await running.catch(() => {})", 0],
])("a process %s", (_, then, status) => {
  const worker = fileURLToPath(new URL("../../dist/runtime/worker-runtime.js", import.meta.url));
  const script = `
    const { workerRuntime } = await import(${JSON.stringify(worker)});
    const session = await workerRuntime("ort-node").create(Uint8Array.of(${square}), { threads: 1 });
    const a = { dtype: "float32", dims: [1500, 1500], data: new Float32Array(1500 * 1500) };
    const controller = new AbortController();
    const running = session.run({ a, b: a }, ["c"], { signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 50));
    ${then};`;
  const result = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect(result).toMatchObject({ status, stdout: "", stderr: "" });
});
