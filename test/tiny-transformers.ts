/** @file Folders as transformers.js wants them, with tiny transformers of random weights: a BERT classifier, a GPT-2 with a cache. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Model } from "../src/ir/model.ts";
import { parse } from "../src/ir/text/index.ts";
import { float32, int64, type Tensor } from "../src/tensor/tensor.ts";
import { Rng } from "../src/util/rng.ts";
import { tinyTokenizer } from "./tiny-tokenizer.ts";
import { encode } from "./wire.ts";

const WORDS = 24;
const POSITIONS = 32;
const WIDTH = 32;
const HEADS = 2;
const HEAD = WIDTH / HEADS;

/** A model under construction: its text, and the tensors that the text stands for. */
class Builder {
  readonly #rng: Rng;
  readonly #tensors = new Map<string, Tensor>();
  readonly #constants: string[] = [];

  constructor(seed: number) {
    this.#rng = new Rng(seed, "tiny transformer");
  }

  constant(name: string, tensor: Tensor): void {
    this.#tensors.set(name, tensor);
    const type = tensor.dtype === "float32" ? "float" : tensor.dtype;
    this.#constants.push(`${type}${tensor.dims.length > 0 ? `[${tensor.dims}]` : ""} ${name} = {…${name}}`);
  }

  weight(name: string, ...dims: number[]): void {
    const spread = dims.length > 1 ? 1 / Math.sqrt(dims[0] as number) : 0.1;
    const count = dims.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: count }, () => this.#rng.normal() * spread);
    this.constant(name, float32(dims, data));
  }

  build(signature: string, nodes: string): Model {
    const text = `<ir_version: 8, opset_import: ["": 17]> g ${signature} <${this.#constants.join(", ")}> {${nodes}}`;
    return parse(text, { tensors: (name) => this.#tensors.get(name) });
  }
}

/** Pre-norm attention and a feed-forward network with residuals, from x to y [b, t, 32]; `bias` is added to the scores. */
function block(builder: Builder, hasCache: boolean): string {
  builder.constant("gain", float32([WIDTH], new Float32Array(WIDTH).fill(1)));
  builder.weight("shift", WIDTH);
  for (const name of ["w_query", "w_key", "w_value", "w_out"]) builder.weight(name, WIDTH, WIDTH);
  builder.weight("w_up", WIDTH, 2 * WIDTH);
  builder.weight("w_down", 2 * WIDTH, WIDTH);
  builder.constant("to_heads", int64([4], [0, 0, HEADS, HEAD]));
  builder.constant("to_width", int64([3], [0, 0, WIDTH]));
  builder.constant("root", float32([], [1 / Math.sqrt(HEAD)]));
  const heads = (name: string) => `
    ${name}_flat = MatMul(x_norm, w_${name})
    ${name}_heads = Reshape(${name}_flat, to_heads)
    ${name}_new = Transpose<perm = [0, 2, 1, 3]>(${name}_heads)`;
  const joined = (name: string) => `"present.0.${name}" = Concat<axis = 2>("past_key_values.0.${name}", ${name}_new)`;
  const [key, value] = hasCache ? ['"present.0.key"', '"present.0.value"'] : ["key_new", "value_new"];
  return `
    x_norm = LayerNormalization<axis = -1>(x, gain, shift)
    ${["query", "key", "value"].map(heads).join("")}
    ${hasCache ? ["key", "value"].map(joined).join("\n") : ""}
    key_turned = Transpose<perm = [0, 1, 3, 2]>(${key})
    products = MatMul(query_new, key_turned)
    scaled = Mul(products, root)
    scores = Add(scaled, bias)
    shares = Softmax<axis = -1>(scores)
    mixed = MatMul(shares, ${value})
    mixed_turned = Transpose<perm = [0, 2, 1, 3]>(mixed)
    merged = Reshape(mixed_turned, to_width)
    attended = MatMul(merged, w_out)
    middle = Add(x, attended)
    middle_norm = LayerNormalization<axis = -1>(middle, gain, shift)
    wide = MatMul(middle_norm, w_up)
    active = Relu(wide)
    narrow = MatMul(active, w_down)
    y = Add(middle, narrow)`;
}

function classifier(): Model {
  const builder = new Builder(11);
  builder.weight("words", WORDS, WIDTH);
  builder.weight("types", 2, WIDTH);
  builder.weight("w_class", WIDTH, 2);
  builder.constant("one", float32([], [1]));
  builder.constant("large", float32([], [-10000]));
  builder.constant("across", int64([2], [1, 2]));
  builder.constant("first", int64([], [0]));
  return builder.build(
    `(int64[batch_size, sequence_length] input_ids, int64[batch_size, sequence_length] attention_mask,
      int64[batch_size, sequence_length] token_type_ids) => (float[batch_size, 2] logits)`,
    `
    of_words = Gather(words, input_ids)
    of_types = Gather(types, token_type_ids)
    x = Add(of_words, of_types)
    mask = Cast<to = 1>(attention_mask)
    hidden = Sub(one, mask)
    cost = Mul(hidden, large)
    bias = Unsqueeze(cost, across)
    ${block(builder, false)}
    pooled = Gather<axis = 1>(y, first)
    logits = MatMul(pooled, w_class)
  `,
  );
}

function generator(): Model {
  const builder = new Builder(12);
  builder.weight("words", WORDS, WIDTH);
  builder.weight("positions", POSITIONS, WIDTH);
  builder.weight("w_head", WIDTH, WORDS);
  builder.constant("zero", float32([], [0]));
  builder.constant("large", float32([], [-10000]));
  builder.constant("across", int64([2], [1, 3]));
  for (const [name, value] of Object.entries({ none: 0, one: 1 })) builder.constant(name, int64([], [value]));
  const cache = (prefix: string, length: string) =>
    ["key", "value"].map((part) => `float[batch_size, ${HEADS}, ${length}, ${HEAD}] "${prefix}.0.${part}"`).join(", ");
  return builder.build(
    `(int64[batch_size, sequence_length] input_ids, int64[batch_size, "past_sequence_length + sequence_length"] attention_mask,
      int64[batch_size, sequence_length] position_ids, ${cache("past_key_values", "past_sequence_length")})
      => (float[batch_size, sequence_length, ${WORDS}] logits, ${cache("present", '"past_sequence_length + sequence_length"')})`,
    `
    of_words = Gather(words, input_ids)
    of_positions = Gather(positions, position_ids)
    x = Add(of_words, of_positions)
    mask_shape = Shape(attention_mask)
    total = Gather(mask_shape, one)
    columns = Range(none, total, one)
    rows = Unsqueeze(position_ids, across)
    is_past = LessOrEqual(columns, rows)
    bias = Where(is_past, zero, large)
    ${block(builder, true)}
    logits = MatMul(y, w_head)
  `,
  );
}

interface TinyTransformer {
  readonly config: object;
  readonly build: () => Model;
}

const tinyTransformers = {
  bert: {
    config: {
      model_type: "bert",
      architectures: ["BertForSequenceClassification"],
      hidden_size: WIDTH,
      num_attention_heads: HEADS,
      num_hidden_layers: 1,
      vocab_size: WORDS,
      id2label: { 0: "dogs", 1: "cats" },
      label2id: { dogs: 0, cats: 1 },
    },
    build: classifier,
  },
  gpt2: {
    config: {
      model_type: "gpt2",
      architectures: ["GPT2LMHeadModel"],
      n_embd: WIDTH,
      n_head: HEADS,
      n_layer: 1,
      n_positions: POSITIONS,
      vocab_size: WORDS,
    },
    build: generator,
  },
} satisfies Readonly<Record<string, TinyTransformer>>;

/** Writes config.json, the tokenizer's files and onnx/model.onnx. The same bytes every time. */
export function writeTinyTransformer(name: keyof typeof tinyTransformers, folder: string): void {
  const { config, build } = tinyTransformers[name];
  mkdirSync(join(folder, "onnx"), { recursive: true });
  const tokenizer = { tokenizer_class: "PreTrainedTokenizerFast", pad_token: "[PAD]", unk_token: "[UNK]" };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  writeFileSync(join(folder, "tokenizer.json"), tinyTokenizer);
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "onnx/model.onnx"), encode(build()));
}
