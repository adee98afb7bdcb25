/**
 * @file The textual format: ONNX' own syntax (docs/Syntax.md of github.com/onnx/onnx), as onnx.parser reads it, plus what
 * ONNX has no notation for:
 * - `float[64,3] w = {…fnv1a:0123456789abcdef}`: elements left out, known by their hash ("..." is read like "…");
 * - `x"00ff"`: a string, or a name, of bytes that are not printable UTF-8;
 * - `sparse_tensor(float[9]) w = {float[2] {1, 2}, int64[2] {0, 5}}`: values and indices of a sparse constant;
 * - `[name, doc_string: "…", metadata_props: ["k": "v"], unknown: x"…"] y = Op(x)` for a node, and the same list without a
 *   name after the name of a graph or value; in a function's header these are fields;
 * - `"my-domain"."op|1"(x)`: a domain or operator that is no identifier, in quotes;
 * - tensors of elements below 8 bits, one integer each; `float16[1] {1.5}`, a half float by value (an integer is its bits);
 * - header, graph names and outputs' types may be left out when read.
 */
export { hashTensor } from "./elements.ts";
export { type ParseArgument, type ParseOptions, parse } from "./parse.ts";
export { type PrintOptions, print } from "./printer.ts";
export type { TensorSupplier } from "./reader.ts";
