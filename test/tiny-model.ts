/** @file A one-node ONNX model, encoded by hand, for tests that must not depend on our own codec. */
const encoder = new TextEncoder();

const varint = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)]);
const int = (field: number, value: number) => [...varint(field << 3), ...varint(value)];
const message = (field: number, ...parts: (readonly number[])[]) => {
  const body = parts.flat();
  return [...varint((field << 3) | 2), ...varint(body.length), ...body];
};
const text = (field: number, value: string) => message(field, [...encoder.encode(value)]);

export interface TinyIo {
  readonly name: string;
  /** TensorProto.DataType; float32 when absent. */
  readonly type?: number;
  readonly dims: readonly (number | string)[];
}

/** A float32 initializer whose data is the file `location`. */
export interface TinyExternal {
  readonly name: string;
  readonly dims: readonly number[];
  readonly location: string;
}

/** The bytes of a model, IR version 8 and opset 17, whose graph is one node of type `opType`; initializers follow the inputs. */
export function tinyModel(
  opType: string,
  inputs: readonly TinyIo[],
  outputs: readonly TinyIo[],
  external: readonly TinyExternal[] = [],
): Uint8Array {
  const valueInfo = (field: number) => (io: TinyIo) => {
    const dims = io.dims.map((dim) => message(1, typeof dim === "number" ? int(1, dim) : text(2, dim)));
    return message(field, text(1, io.name), message(2, message(1, int(1, io.type ?? 1), message(2, ...dims))));
  };
  const initializer = ({ name, dims, location }: TinyExternal) =>
    message(
      5,
      ...dims.map((dim) => int(1, dim)),
      int(2, 1),
      text(8, name),
      message(13, text(1, "location"), text(2, location)),
      int(14, 1),
    );
  const names = (field: number, values: readonly { name: string }[]) => values.map(({ name }) => text(field, name));
  const node = message(
    1,
    ...names(1, [...inputs, ...external]),
    ...names(2, outputs),
    text(3, "node"),
    text(4, opType),
  );
  const values = [...inputs.map(valueInfo(11)), ...outputs.map(valueInfo(12))];
  const graph = message(7, node, text(2, "graph"), ...external.map(initializer), ...values);
  return Uint8Array.from([...int(1, 8), ...graph, ...message(8, text(1, ""), int(2, 17))]);
}
