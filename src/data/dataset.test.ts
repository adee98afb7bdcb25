import { describe, expect, it } from "vitest";
import { hostTensor } from "../tensor/host-tensor.ts";
import { TersorError } from "../util/errors.ts";
import { batches, unbatch } from "./batch.ts";
import {
  collect,
  type Dataset,
  datasetOf,
  drop,
  indexedDataset,
  type Sample,
  shuffle,
  split,
  take,
} from "./dataset.ts";

const sample = (i: number, dims = [1, 2]): Sample => ({
  id: `s${i}`,
  inputs: { x: hostTensor("float32", dims, Array<number>(dims.reduce((a, b) => a * b, 1)).fill(i)) },
  label: i,
});
const dataset = datasetOf(
  "ten",
  Array.from({ length: 10 }, (_, i) => sample(i)),
);
const ids = async (data: Dataset) => (await collect(data)).map(({ id }) => id);
/** The same samples, without random access. */
const stream = (data: Dataset): Dataset => ({
  name: data.name,
  [Symbol.asyncIterator]: () => data[Symbol.asyncIterator](),
});

describe.each([
  ["indexed", dataset],
  ["stream", stream(dataset)],
])("%s dataset", (_, data) => {
  it("gives the same samples each time it is gone through", async () => {
    expect(await ids(data)).toEqual(await ids(data));
  });

  it("takes the first", async () => {
    expect(await ids(take(data, 3))).toEqual(["s0", "s1", "s2"]);
    expect(await ids(take(data, 0))).toEqual([]);
    expect(await ids(take(data, 99))).toHaveLength(10);
  });

  it("drops the first, and leaves what take does not", async () => {
    expect(await ids(drop(data, 8))).toEqual(["s8", "s9"]);
    expect(await ids(drop(data, 99))).toEqual([]);
    expect([...(await ids(take(data, 4))), ...(await ids(drop(data, 4)))]).toEqual(await ids(data));
  });

  it("shuffles by the seed alone", async () => {
    const order = await ids(shuffle(data, 7));
    expect(order).toEqual(await ids(shuffle(dataset, 7)));
    expect(order).not.toEqual(await ids(shuffle(data, 8)));
    expect(order.toSorted()).toEqual(await ids(data));
  });

  it("splits into disjoint parts that together are all", async () => {
    const [calibration, test] = await split(data, 0.3, 1);
    const parts = [await ids(calibration), await ids(test)] as const;
    expect(parts[0]).toHaveLength(3);
    expect([...parts[0], ...parts[1]].toSorted()).toEqual(await ids(data));
    expect(await ids((await split(data, 3, 1))[0])).toEqual(parts[0]);
  });
});

it("does not split into an empty part", async () => {
  await expect(split(dataset, 10, 0)).rejects.toThrowError("expected 1 to 9 of its 10 samples");
});

describe("unreadable samples", () => {
  const read = (i: number) => {
    if (i % 3 === 0) throw new TersorError("bad-data", `file ${i}: corrupt`);
    return sample(i);
  };
  const source = { name: "d", size: 5, at: read, idOf: (i: number) => `f${i}` };

  it("are errors, or are gathered and left out, also behind shuffle and take", async () => {
    await expect(collect(indexedDataset(source))).rejects.toThrowError("file 0: corrupt");
    const skipped = new Map<string, string>();
    const data = take(shuffle(indexedDataset({ ...source, skipped }), 1), 5);
    expect((await ids(data)).toSorted()).toEqual(["s1", "s2", "s4"]);
    await collect(data);
    expect(data.skipped).toBe(skipped);
    expect([...skipped].toSorted()).toEqual([
      ["f0", "file 0: corrupt"],
      ["f3", "file 3: corrupt"],
    ]);
  });

  it("are an error when there is nothing else, and never hide other errors", async () => {
    const none = indexedDataset({ ...source, size: 1, skipped: new Map() });
    await expect(collect(none)).rejects.toThrowError("d: none of its 1 samples can be read: file 0: corrupt");
    const broken = indexedDataset({ ...source, at: () => Promise.reject(new Error("bug")), skipped: new Map() });
    await expect(collect(broken)).rejects.toThrowError("bug");
  });
});

describe("batches", () => {
  const gather = async (data: Dataset, options: Parameters<typeof batches>[1]) => {
    const out = [];
    for await (const batch of batches(data, options))
      out.push({ ids: batch.samples.map(({ id }) => id).join(" "), x: batch.inputs.x });
    return out;
  };
  const three = take(dataset, 3);

  it("joins along the first axis and keeps, drops or fills what is left", async () => {
    expect(await gather(three, { size: 2 })).toEqual([
      { ids: "s0 s1", x: hostTensor("float32", [2, 2], [0, 0, 1, 1]) },
      { ids: "s2", x: hostTensor("float32", [1, 2], [2, 2]) },
    ]);
    expect(await gather(three, { size: 2, last: "drop" })).toHaveLength(1);
    expect((await gather(three, { size: 2, last: "fill" })).at(-1)).toEqual({
      ids: "s2",
      x: hostTensor("float32", [2, 2], [2, 2, 2, 2]),
    });
  });

  it("pads, splits at, or refuses unequal shapes", async () => {
    const uneven = datasetOf("uneven", [sample(1, [1, 2, 1]), sample(2, [1, 1, 2]), sample(3, [1, 1, 2])]);
    await expect(gather(uneven, { size: 2 })).rejects.toThrowError(
      'sample "s2": input "x" cannot join a batch: expected [1,2,1]',
    );
    expect((await gather(uneven, { size: 2, pad: { x: 9 } }))[0]?.x).toEqual(
      hostTensor("float32", [2, 2, 2], [1, 9, 1, 9, 2, 2, 9, 9]),
    );
    expect((await gather(uneven, { size: 3, pad: "split" })).map(({ ids }) => ids)).toEqual(["s1", "s2 s3"]);
  });

  it("pads 64-bit integers", async () => {
    const ids = (...values: number[]): Sample => ({
      id: "t",
      inputs: { x: hostTensor("int64", [1, values.length], values) },
    });
    const [batch] = await gather(datasetOf("tokens", [ids(1), ids(2, 3)]), { size: 2, pad: 0 });
    expect(batch?.x).toEqual(hostTensor("int64", [2, 2], [1, 0, 2, 3]));
  });

  it("takes outputs apart again", () => {
    const outputs = { y: hostTensor("float32", [2, 2], [1, 2, 3, 4]), mean: hostTensor("float32", [], [5]) };
    expect(unbatch(outputs, 2)).toEqual([
      { y: hostTensor("float32", [1, 2], [1, 2]), mean: outputs.mean },
      { y: hostTensor("float32", [1, 2], [3, 4]), mean: outputs.mean },
    ]);
  });
});
