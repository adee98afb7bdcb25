/** @file The random models of the property tests are valid: ONNX Runtime runs them, and they survive the file format. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { encodeModel } from "../src/ir/serde/encode-model.ts";
import { writeTo } from "../src/proto/write.ts";
import { inProcessRuntime } from "../src/runtime/in-process.ts";
import { MemorySink } from "../src/util/bytes.ts";
import { arbitraryInput, arbitraryModel } from "./arbitrary-graph.ts";

it("runs every random model, with finite results of the declared shapes", async () => {
  const runtime = inProcessRuntime("ort-node");
  await fc.assert(
    fc.asyncProperty(arbitraryModel(), async (model) => {
      const sink = new MemorySink();
      writeTo(encodeModel(model).model, sink);
      const session = await runtime.create(sink.bytes(), { threads: 1 });
      const input = arbitraryInput(model);
      const outputs = await session.run({ x: { dtype: input.dtype, dims: input.dims, data: input.toFloat32() } });
      await session.release();
      for (const value of model.graph.outputs) {
        const output = outputs[value.name];
        const shape = value.type?.kind === "tensor" ? value.type.shape : undefined;
        expect(output?.dims).toEqual(shape?.map((dim) => (dim === "N" ? 2 : dim)));
        expect(Array.from(output?.data as Float32Array).every(Number.isFinite)).toBe(true);
      }
    }),
    { numRuns: 200, seed: 7 },
  );
});
