import { describe, expect, it } from "vitest";
import { hostTensor } from "../tensor/host-tensor.ts";
import { collect } from "./dataset.ts";
import { parseDelimited } from "./delimited.ts";
import type { InputInfo } from "./fit-input.ts";
import { inputsFrom, labelFrom } from "./from-values.ts";
import { parseClasses, parseLabel, readLabels, sortClasses } from "./labels.ts";
import { normalize, relayout } from "./preprocess.ts";
import { seededDataset } from "./seeded.ts";

const image: InputInfo = { name: "x", dtype: "float32", dims: ["N", 1, 2, 2] };
const ids: InputInfo = { name: "ids", dtype: "int64", dims: ["B", "T"] };

describe("inputs from plain values", () => {
  it.each([
    [
      "nested arrays",
      [
        [
          [1, 2],
          [3, 4],
        ],
      ],
    ],
    [
      "with the batch axis",
      [
        [
          [
            [1, 2],
            [3, 4],
          ],
        ],
      ],
    ],
    ["a flat array", [1, 2, 3, 4]],
    ["a typed array", Float64Array.of(1, 2, 3, 4)],
    ["data and dims", { data: [1, 2, 3, 4], dims: [1, 2, 2] }],
    ["a tensor", hostTensor("uint8", [1, 1, 2, 2], [1, 2, 3, 4])],
  ])("takes %s", (_, value) => {
    expect(inputsFrom({ x: value }, [image], "s").x).toEqual(hostTensor("float32", [1, 1, 2, 2], [1, 2, 3, 4]));
  });

  it("turns numbers into the model's integers", () => {
    expect(inputsFrom({ ids: [5, 6] }, [ids], "s").ids).toEqual(hostTensor("int64", [1, 2], [5, 6]));
  });

  it.each([
    ["another shape", { x: [[1, 2]] }, [image], "wrong shape: expected float32 [N, 1, 2, 2], got float32 [1, 2]"],
    ["ragged arrays", { x: [[1], [2, 3]] }, [image], "nested arrays of equal length"],
    ["a fraction", { ids: [1.5] }, [ids], "element 0 does not fit the model's type: expected int64, got 1.5"],
    ["NaN", { ids: [1, Number.NaN] }, [ids], "element 1 does not fit"],
    ["a wrong name", { y: [1] }, [image], 'wrong inputs: expected "x", got "y"'],
    ["a missing input", { x: [1, 2, 3, 4] }, [image, ids], 'expected "x", "ids", got "x"'],
    ["dims that do not fit", { x: { data: [1], dims: [2] } }, [image], "expected 2 elements for [2], got 1"],
  ])("refuses %s", (_, values, inputs, message) => {
    expect(() => inputsFrom(values, inputs, "data.jsonl:3")).toThrowError(message);
    expect(() => inputsFrom(values, inputs, "data.jsonl:3")).toThrowError(/^data\.jsonl:3: /);
  });

  it("reads labels of every kind", () => {
    expect(labelFrom("cat", ["dog", "cat"], "s")).toBe(1);
    expect(labelFrom("cat", undefined, "s")).toBe("cat");
    expect(labelFrom([1, -1], undefined, "s")).toEqual(hostTensor("int64", [2], [1, -1]));
    expect(labelFrom([0.5], undefined, "s")).toEqual(hostTensor("float32", [1], [0.5]));
  });
});

describe("labels", () => {
  it("are names or indices of the classes", () => {
    expect(parseLabel("1", ["a", "b"], "s")).toBe(1);
    expect(() => parseLabel(2, ["a", "b"], "s")).toThrowError("label out of range: expected one of 2 classes (a, b)");
    expect(() => parseLabel("", ["a", "b"], "s")).toThrowError('got ""');
  });

  it("from text are numbers only where all are", () => {
    expect(readLabels(["1", "5.0", "-2"])).toEqual([1, 5, -2]);
    expect(readLabels(["1", "007"])).toEqual(["1", "007"]);
  });

  it("sort by value where they are numbers", () => {
    expect(sortClasses(["10", "9", "9"])).toEqual(["9", "10"]);
    expect(sortClasses(["b", "a", "10"])).toEqual(["10", "a", "b"]);
  });

  it("come from JSON or lines", () => {
    expect(parseClasses('["a b", "c"]', "f")).toEqual(["a b", "c"]);
    expect(parseClasses("a b\r\nc\n", "f")).toEqual(["a b", "c"]);
    expect(() => parseClasses('{"a": 1}', "f")).toThrowError("f: expected an array of class names");
  });
});

describe("delimited text", () => {
  const csv = (text: string) => parseDelimited(text, { separator: "," }, "f.csv");

  it.each([
    [
      "plain fields",
      "a,b\nc,d\n",
      [
        ["a", "b"],
        ["c", "d"],
      ],
    ],
    [
      "a quoted separator, line end and quote",
      '"a,1","b\r\n""2"""\nc,d',
      [
        ["a,1", 'b\r\n"2"'],
        ["c", "d"],
      ],
    ],
    ["empty fields", ',\n""\n,a,', [["", ""], [""], ["", "a", ""]]],
    [
      "CRLF, a byte order mark and blank lines",
      "\ufeffa,b\r\n\r\nc,d\r\n",
      [
        ["a", "b"],
        ["c", "d"],
      ],
    ],
    ["a quote within a plain field", 'a"b,c', [['a"b', "c"]]],
    ["nothing", "", []],
  ])("reads %s", (_, text, records) => expect(csv(text)).toEqual(records));

  it("names the line of a broken quote", () => {
    expect(() => csv('a\n"b')).toThrowError("f.csv:2: a quoted field has no closing quote");
    expect(() => csv('"a"b')).toThrowError("f.csv:1: text behind a closing quote");
  });

  it("takes quotes in a TSV as they are", () => {
    expect(parseDelimited('"a\tb"\n', { separator: "\t" }, "f")).toEqual([['"a', 'b"']]);
  });
});

describe("normalize", () => {
  it("subtracts, scales and moves channels", () => {
    const nhwc = [10, 20, 30, 40, 50, 60]; // two pixels, three channels
    const out = normalize(nhwc, 3, "nhwc", "nchw", { zeroPoint: 10, scale: 0.1, mean: [0, 1, 2], std: [1, 2, 4] }, "s");
    expect(Array.from(out)).toEqual([0, 3, 0, 1.5, 0, 0.75]);
    expect(relayout([4, 5, 3], "nhwc", "nchw")).toEqual([3, 4, 5]);
    expect(relayout([3, 4, 5], "nchw", "nhwc")).toEqual([4, 5, 3]);
  });

  it("refuses values that do not fit the channels", () => {
    expect(() => normalize([1, 2, 3], 3, "nchw", "nchw", { std: [1, 2] }, "s")).toThrowError(
      "expected 1 or 3 values, got 2",
    );
  });
});

describe("seeded inputs", () => {
  const inputs: InputInfo[] = [
    { name: "input_ids", dtype: "int64", dims: ["batch", "T"] },
    { name: "attention_mask", dtype: "int64", dims: ["batch", "past_length + T"] },
    { name: "past", dtype: "float16", dims: ["batch", 2, "past_length", 4] },
    { name: "pixels", dtype: "uint8", dims: [null, 3, "H", "W"] },
    { name: "flag", dtype: "bool", dims: [1] },
  ];

  it("has the declared types and shapes, and says that it is made up", async () => {
    const data = seededDataset(inputs, { count: 2, dims: { T: 5 }, ranges: { input_ids: [100, 101] } });
    expect(data).toMatchObject({ size: 2, synthetic: true });
    const [first, second] = await collect(data);
    expect(Object.values(first?.inputs ?? {}).map(({ dtype, dims }) => `${dtype} ${dims}`)).toEqual([
      "int64 1,5",
      "int64 1,5",
      "float16 1,2,0,4",
      "uint8 1,3,64,64",
      "bool 1",
    ]);
    expect(first?.inputs.attention_mask).toEqual(hostTensor("int64", [1, 5], [1, 1, 1, 1, 1]));
    expect(String(first?.inputs.input_ids?.data)).toMatch(/^10[01](,10[01]){4}$/);
    expect(first?.inputs.pixels).not.toEqual(second?.inputs.pixels);
  });

  it("depends on the seed alone", async () => {
    expect(await collect(seededDataset(inputs, { seed: 3 }))).toEqual(
      await collect(seededDataset(inputs, { seed: 3 })),
    );
    expect((await collect(seededDataset(inputs, { seed: 4 })))[0]?.inputs).not.toEqual(
      (await collect(seededDataset(inputs, { seed: 3 })))[0]?.inputs,
    );
  });
});
