/** @file Tests of the shape rules: a line a case, and a rule for every operator. */
import { describe, expect, it } from "vitest";
import { parse } from "../../ir/text/index.ts";
import { typeToString } from "../../ir/types.ts";
import { infer } from "../infer.ts";
import { knownOps, schemaVersions } from "../schema.ts";
import { opsWithShapeRule, shapeRule } from "./index.ts";

/** Types of y (and z …) for inputs and constants as given. */
function typesOf(inputs: string, body: string, opset = 21): string {
  const [signature, constants = ""] = inputs.split(/ ?\| /);
  const { graph, ...model } = parseBody(signature ?? "", constants, body, opset);
  const { types } = infer(model.model);
  return graph.outputs.map((value) => typeToString(types.get(value))).join(" ");
}

function parseBody(signature: string, constants: string, body: string, opset: number) {
  const outputs = ["y", "z", "u", "v"].filter((name) => new RegExp(`\\b${name}\\b[^=]*= `).test(body));
  const model = parse(
    `<ir_version: 10, opset_import: ["": ${opset}, "com.microsoft": 1]> g (${signature}) => (${outputs.join(", ")}) <${constants}> { ${body} }`,
  );
  return { model, graph: model.graph };
}

type Case = [inputs: string, body: string, expected: string, opset?: number];

const families: Record<string, Case[]> = {
  elementwise: [
    ["float[N,4] x", "y = Relu(x)", "float[N,4]"],
    ["float[N,1] a, float[4] b", "y = Add(a, b)", "float[N,4]"],
    ["float[N,4] a, float[M,4] b", "y = Add(a, b)", 'float["max(M, N)",4]'],
    ["float[N] a, float[3] b", "y = Mul(a, b)", "float[3]"],
    ["float[3,4] a, float[4] b", "y = Less(a, b)", "bool[3,4]"],
    ["float[2,3] a, float[3] b", "y = Add(a, b) <broadcast = 1>", "float[2,3]", 6],
    ["bool[N,1] c, float[4] a, float b", "y = Where(c, a, b)", "float[N,4]"],
    ["float[N] x", "y = Cast(x) <to = 7>", "int64[N]"],
    ["float[2] x, float16 t", "y = CastLike(x, t)", "float16[2]"],
    ["float[2] x", "y, z = Dropout(x)", "float[2] bool[2]", 13],
    ["float[2] x", "y, z = Dropout(x)", "float[2] float[2]", 7],
    ["float[2,3] x, float[3] s", "y = PRelu(x, s)", "float[2,3]"],
    ["float[2] x", "y = IsNaN(x)", "bool[2]"],
    ["float[2] a, float[2] b, float[1] c", "y = Max(a, b, c)", "float[2]"],
  ],
  linalg: [
    ["float[B,S,8] x, float[8,16] w", "y = MatMul(x, w)", "float[B,S,16]"],
    ["float[8] x, float[8] w", "y = MatMul(x, w)", "float"],
    ["float[3,1,4,8] a, float[5,8,2] b", "y = MatMul(a, b)", "float[3,5,4,2]"],
    ["float[8,N] x, float[4,8] w", "y = Gemm(x, w) <transA = 1, transB = 1>", "float[N,4]"],
    ["float[B,T,4] a, float[B,S,4] b", 'y = Einsum(a, b) <equation = "bij,bkj->bik">', "float[B,T,S]"],
    ["float[2,3,4] a, float[4,5] b", 'y = Einsum(a, b) <equation = "...j,jk">', "float[2,3,5]"],
    ["float[3,3] a", 'y = Einsum(a) <equation = "ii->i">', "float[3]"],
    ["uint8[N,4] a, int8[4,5] b", "y = MatMulInteger(a, b)", "int32[N,5]"],
    ["float[B,3,3] x", "y = Det(x)", "float[B]"],
    ["float[B,4,8] a, float[B,5,8] b", "y = com.microsoft.FusedMatMul(a, b) <transB = 1>", "float[B,4,5]"],
    [
      "float[B,S,64] a, uint8[32,2,16] b, float[64] s",
      "y = com.microsoft.MatMulNBits(a, b, s) <K = 64, N = 32, block_size = 32, bits = 4>",
      "float[B,S,32]",
    ],
    [
      "uint8[N,4] a, float as, uint8 az, int8[4,5] b, float bs, int8 bz",
      "y = com.microsoft.QGemm(a, as, az, b, bs, bz)",
      "float[N,5]",
    ],
  ],
  conv: [
    [
      "float[N,3,224,224] x, float[64,3,7,7] w",
      "y = Conv(x, w) <strides = [2, 2], pads = [3, 3, 3, 3]>",
      "float[N,64,112,112]",
    ],
    [
      "float[N,3,H,W] x, float[8,3,3,3] w",
      "y = Conv(x, w) <strides = [2, 2], pads = [1, 1, 1, 1]>",
      'float[N,8,"floor((H + 1)/2)","floor((W + 1)/2)"]',
    ],
    ["float[N,3,H] x, float[8,3,3] w", 'y = Conv(x, w) <auto_pad = "SAME_UPPER">', "float[N,8,H]"],
    [
      "float[N,8,9] x, float[8,1,3] w",
      'y = Conv(x, w) <auto_pad = "VALID", group = 8, dilations = [2]>',
      "float[N,8,5]",
    ],
    [
      "float[N,4,H] x, float[4,2,3] w",
      "y = ConvTranspose(x, w) <strides = [2], group = 2, output_padding = [1]>",
      'float[N,4,"2*H + 2"]',
    ],
    ["float[N,4,5] x, float[4,2,3] w", "y = ConvTranspose(x, w) <output_shape = [10], strides = [2]>", "float[N,2,10]"],
    [
      "float[1,2,7,7] x",
      "y, z = MaxPool(x) <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>",
      "float[1,2,3,3] int64[1,2,3,3]",
    ],
    ["float[1,1,2,2] x", "y = MaxPool(x) <kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1>", "float[1,1,1,1]"],
    ["float[N,8,H,W] x", "y = GlobalAveragePool(x)", "float[N,8,1,1]"],
    [
      "float[1,1,2,2] x, int64[1,1,2,2] i",
      "y = MaxUnpool(x, i) <kernel_shape = [2, 2], strides = [2, 2]>",
      "float[1,1,4,4]",
    ],
    ["float[N,12,l] x | int64[2] s = {5, 5}, int64[2] b = {2, 3}", "y = Col2Im(x, s, b)", "float[N,2,5,5]"],
    [
      "float[N,2,8,8] x, float[R,4] r, int64[R] i",
      "y = RoiAlign(x, r, i) <output_height = 7, output_width = 7>",
      "float[R,2,7,7]",
    ],
    ["float[N,2,8,8] x, float[N,5,6,2] g", "y = GridSample(x, g)", "float[N,2,5,6]"],
    ["float[N,2,3] t | int64[4] s = {4, 3, 8, 9}", "y = AffineGrid(t, s)", "float[4,8,9,2]", 20],
    ["float[N,3,9,9] x, float[8,3,3,3] w", "y = com.microsoft.FusedConv(x, w)", "float[N,8,7,7]"],
    ["float[N,9,9,3] x, float[8,3,3,3] w", "y = com.microsoft.NhwcFusedConv(x, w)", "float[N,7,7,8]"],
    [
      "uint8[N,9,9,3] x, float xs, uint8 xz, uint8[8,3,3,3] w, float ws, uint8 wz, float ys, uint8 yz",
      "y = com.microsoft.QLinearConv(x, xs, xz, w, ws, wz, ys, yz) <channels_last = 1>",
      "uint8[N,7,7,8]",
    ],
  ],
  reshape: [
    ["float[N,4,6] x | int64[2] s = {0, -1}", "y = Reshape(x, s)", "float[N,24]"],
    ["float[N,T,64] x | int64[4] s = {0, 0, 8, -1}", "y = Reshape(x, s)", "float[N,T,8,8]"],
    ["float[N,4] x | int64[2] s = {-1, 8}", "y = Reshape(x, s)", 'float["N/2",8]'],
    ["float[0,4] x | int64[2] s = {0, 7}", "y = Reshape(x, s) <allowzero = 1>", "float[0,7]"],
    ["float[2,6] x", "y = Reshape(x) <shape = [3, -1]>", "float[3,4]", 1],
    ["float[2,6] x, int64[3] s", "y = Reshape(x, s)", "float[y_dim0,y_dim1,y_dim2]"],
    ["float[N,C,H,W] x", "y = Flatten(x) <axis = 2>", 'float["C*N","H*W"]'],
    ["float[N,C,H] x", "y = Flatten(x) <axis = -1>", 'float["C*N",H]'],
    ["float[2,3,N] x", "y = Transpose(x)", "float[N,3,2]"],
    ["float[2,3,N] x", "y = Transpose(x) <perm = [0, 2, 1]>", "float[2,N,3]"],
    ["float[1,3,1] x", "y = Squeeze(x)", "float[3]"],
    ["float[1,N,1] x", "y = Squeeze(x) <axes = [0, -1]>", "float[N]", 11],
    ["float[N] x | int64[2] a = {0, -1}", "y = Unsqueeze(x, a)", "float[1,N,1]"],
    ["float[N] x", "y = Unsqueeze(x) <axes = [1]>", "float[N,1]", 11],
    ["float[N,2] a, float[M,2] b", "y = Concat(a, b) <axis = 0>", 'float["M + N",2]'],
    ["float[N,12] x", "y, z = Split(x) <axis = 1>", "float[N,6] float[N,6]"],
    ["float[N,7] x", "y, z = Split(x) <axis = 1, num_outputs = 2>", "float[N,4] float[N,3]", 18],
    ["float[7] x", "y, z = Split(x) <split = [3, 4]>", "float[3] float[4]", 11],
    ["float[7] x | int64[2] s = {3, 4}", "y, z = Split(x, s)", "float[3] float[4]"],
    ["float[N,1] x | int64[3] s = {2, 1, 5}", "y = Expand(x, s)", "float[2,N,5]"],
    ["float[N,2] x | int64[2] r = {3, 2}", "y = Tile(x, r)", 'float["3*N",4]'],
    ["float[N,8,H,W] x", "y = DepthToSpace(x) <blocksize = 2>", 'float[N,2,"2*H","2*W"]'],
    ["float[N,2,H,4] x", "y = SpaceToDepth(x) <blocksize = 2>", 'float[N,8,"floor(H/2)",2]'],
  ],
  windows: [
    [
      "float[N,8] x | int64[1] s = {-3}, int64[1] e = {9223372036854775807}",
      "y = Slice(x, s, e)",
      'float["min(3, N)",8]',
    ],
    [
      "float[N,8] x | int64[1] s = {1}, int64[1] e = {7}, int64[1] a = {-1}, int64[1] t = {2}",
      "y = Slice(x, s, e, a, t)",
      "float[N,3]",
    ],
    [
      "float[8] x | int64[1] s = {-1}, int64[1] e = {-9223372036854775807}, int64[1] a = {0}, int64[1] t = {-1}",
      "y = Slice(x, s, e, a, t)",
      "float[8]",
    ],
    ["float[N,8] x", "y = Slice(x) <starts = [2], ends = [100], axes = [1]>", "float[N,6]", 9],
    ["float[N,8] x, int64[1] s, int64[1] e", "y = Slice(x, s, e)", "float[y_dim0,8]"],
    ["float[N,8] x | int64[4] p = {1, 0, 2, -3}", "y = Pad(x, p)", 'float["N + 3",5]'],
    ["float[N,8] x | int64[2] p = {1, 2}, float v = {0}, int64[1] a = {-1}", "y = Pad(x, p, v, a)", "float[N,11]"],
    ["float[2,8] x", "y = Pad(x) <pads = [0, 1, 0, 1]>", "float[2,10]", 2],
    ["float[1,3,H,7] x | float[4] s = {1, 1, 2, 1.5}", "y = Resize(x, , s)", 'float[1,3,"2*H",10]'],
    ["float[1,3,H,7] x | int64[4] s = {1, 3, 20, 30}", "y = Resize(x, , , s)", "float[1,3,20,30]"],
    [
      "float[1,1,4,8] x | int64[2] s = {6, 6}",
      'y = Resize(x, , , s) <axes = [2, 3], keep_aspect_ratio_policy = "not_larger">',
      "float[1,1,3,6]",
    ],
    ["float[1,3,4,5] x | float[4] s = {1, 1, 2, 3}", "y = Upsample(x, s)", "float[1,3,8,15]", 9],
    ["float[1,3,4,5] x", "y = Upsample(x) <scales = [1.0, 1.0, 2.0, 2.0]>", "float[1,3,8,10]", 7],
    ["float[H,W,3] x | int64[2] s = {10, 9}", "y = CenterCropPad(x, s) <axes = [0, 1]>", "float[10,9,3]"],
  ],
  reduce: [
    ["float[N,3,4] x", "y = ReduceMean(x) <axes = [1], keepdims = 0>", "float[N,4]", 13],
    ["float[N,3,4] x | int64[1] a = {-1}", "y = ReduceMean(x, a)", "float[N,3,1]", 18],
    ["float[N,3,4] x", "y = ReduceSum(x) <keepdims = 0>", "float"],
    ["float[N,3,4] x", "y = ReduceSum(x) <noop_with_empty_axes = 1>", "float[N,3,4]"],
    ["float[N,3] x, int64[k] a", "y = ReduceSum(x, a)", "float[y_dim0,y_dim1]"],
    ["float[N,3] x", "y = ArgMax(x) <axis = 1, keepdims = 0>", "int64[N]"],
    ["float[N,9] x | int64[1] k = {4}", "y, z = TopK(x, k)", "float[N,4] int64[N,4]"],
    ["float[N,9] x", "y, z = TopK(x) <k = 2>", "float[N,2] int64[N,2]", 1],
    ["float[N,S,8] x, float[8] g", "y, z, u = LayerNormalization(x, g)", "float[N,S,8] float[N,S,1] float[N,S,1]"],
    [
      "float[N,4,5] x, float[4] s, float[4] b, float[4] m, float[4] v0",
      "y = BatchNormalization(x, s, b, m, v0)",
      "float[N,4,5]",
    ],
    [
      "float[N,5,D] x, int64[N,D] t",
      'y, z = SoftmaxCrossEntropyLoss(x, t) <reduction = "none">',
      "float[N,D] float[N,5,D]",
    ],
    ["float[N,5] x", "y = Softmax(x)", "float[N,5]"],
    [
      "float[1,128,1] x | int64 s = {8}, float[16] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}",
      "y = STFT(x, s, w)",
      "float[1,15,9,2]",
    ],
    ["float[1,10,1] x", "y = DFT(x) <onesided = 1, axis = 1>", "float[1,6,2]", 17],
  ],
  gather: [
    ["float[V,8] x, int64[B,S] i", "y = Gather(x, i)", "float[B,S,8]"],
    ["float[N,3,4] x, int64 i", "y = Gather(x, i) <axis = 1>", "float[N,4]"],
    ["float[2,3,4] x, int64[N,2] i", "y = GatherND(x, i)", "float[N,4]"],
    ["float[B,3,4] x, int64[B,1] i", "y = GatherND(x, i) <batch_dims = 1>", "float[B,4]"],
    ["float[2,3] x, int64[2,N] i", "y = GatherElements(x, i) <axis = 1>", "float[2,N]"],
    ["float[2,3] x, int64[1,2] i, float[1] w", "y = ScatterND(x, i, w)", "float[2,3]"],
    ["int64[N] i, float[2] w | int64 d = {10}", "y = OneHot(i, d, w)", "float[N,10]"],
    ["float[3,N] x", "y = NonZero(x)", "int64[2,y_dim1]"],
    ["float[3,N] x, bool[3] c", "y = Compress(x, c) <axis = 0>", "float[y_dim0,N]"],
    ["float[2,3] x", "y, z, u = Unique(x)", "float[y_dim0] int64[z_dim0] int64[6]"],
    ["float[1,N,4] b, float[1,2,N] s", "y = NonMaxSuppression(b, s)", "int64[y_dim0,3]"],
    [
      "uint8[V,16] x, int64[B] i, float[V,1] s",
      "y = com.microsoft.GatherBlockQuantized(x, i, s) <bits = 4, block_size = 32, quantize_axis = 1>",
      "float[B,32]",
    ],
  ],
  generate: [
    ["", "y = Constant<value_ints = [1, 2]>()", "int64[2]"],
    ["float[N,3] x", "y = Shape(x)", "int64[2]"],
    ["float[N,3,4] x", "y = Shape(x) <start = -2>", "int64[2]", 15],
    ["| int64[2] s = {2, 3}", "y = ConstantOfShape(s)", "float[2,3]"],
    ["| int64 a = {2}, int64 b = {11}, int64 c = {3}", "y = Range(a, b, c)", "int64[3]"],
    ["", "y = RandomNormal<shape = [2, 3]>()", "float[2,3]"],
    ["float[2,3] x", "y = EyeLike(x) <dtype = 7>", "int64[2,3]"],
    ["| int64 n = {10}", "y = HannWindow(n)", "float[10]"],
    ["float[2,3] x", "y = Multinomial(x) <sample_size = 5>", "int32[2,5]"],
  ],
  recurrent: [
    [
      "float[T,N,4] x, float[1,32,4] w, float[1,32,8] r",
      "y, z, u = LSTM(x, w, r) <hidden_size = 8>",
      "float[T,1,N,8] float[1,N,8] float[1,N,8]",
    ],
    [
      "float[N,T,4] x, float[2,24,4] w, float[2,24,8] r",
      'y, z = GRU(x, w, r) <layout = 1, direction = "bidirectional">',
      "float[N,T,2,8] float[N,2,8]",
    ],
    ["float[T,N,4] x, float[1,8,4] w, float[1,8,8] r", "y, z = RNN(x, w, r)", "float[T,1,N,8] float[1,N,8]"],
  ],
  quantization: [
    ["float[N,3] x, float s, int8 z", "y = QuantizeLinear(x, s, z)", "int8[N,3]"],
    ["float[N,3] x, float s", "y = QuantizeLinear(x, s)", "uint8[N,3]"],
    ["int8[N,3] x, float16 s", "y = DequantizeLinear(x, s)", "float16[N,3]"],
    ["float[N,3] x", "y, z, u = DynamicQuantizeLinear(x)", "uint8[N,3] float uint8"],
    [
      "uint8[N,4] a, float s, uint8 q, uint8[4] b, float t, uint8 r, float w, uint8 p",
      "y = com.microsoft.QLinearAdd(a, s, q, b, t, r, w, p)",
      "uint8[N,4]",
    ],
    [
      "float s, uint8 p, uint8[N,2] a, float sa, uint8 pa, uint8[N,3] b, float sb, uint8 pb",
      "y = com.microsoft.QLinearConcat(s, p, a, sa, pa, b, sb, pb) <axis = 1>",
      "uint8[N,5]",
    ],
  ],
  attention: [
    ["float[B,H,S,16] q, float[B,H,T,16] k, float[B,H,T,8] w", "y = Attention(q, k, w)", "float[B,H,S,8]", 23],
    [
      "float[B,S,64] q, float[B,T,32] k, float[B,T,32] w, float[B,4,P,8] pk, float[B,4,P,8] pv",
      "y, z = Attention(q, k, w, , pk, pv) <q_num_heads = 8, kv_num_heads = 4>",
      'float[B,S,64] float[B,4,"P + T",8]',
      23,
    ],
    [
      "float[B,S,64] x, float[64,192] w",
      "y, z = com.microsoft.Attention(x, w) <num_heads = 8>",
      "float[B,S,64] float[2,B,8,S,8]",
    ],
    [
      "float[B,S,64] q, float[B,T,64] k, float[B,T,64] w",
      "y, z = com.microsoft.MultiHeadAttention(q, k, w) <num_heads = 8>",
      "float[B,S,64] float[B,8,T,8]",
    ],
    ["float[B,S,2,3,4] q", "y = com.microsoft.MultiHeadAttention(q) <num_heads = 2>", "float[B,S,8]"],
    [
      "float[B,S,8] q, float[B,T,2,2,4] k",
      "y = com.microsoft.MultiHeadAttention(q, k) <num_heads = 2>",
      "float[B,S,8]",
    ],
    [
      "float[B,S,96] q, int32[B] l, int32 t",
      "y = com.microsoft.GroupQueryAttention(q, , , , , l, t) <num_heads = 8, kv_num_heads = 2>",
      "float[B,S,64]",
    ],
    [
      "float[B,S,8] x, float[B,S,8] s, float[8] g",
      "y, , , z = com.microsoft.SkipLayerNormalization(x, s, g)",
      "float[B,S,8] float[B,S,8]",
    ],
    [
      "int32[B,S] i, float[V,8] w, float[P,8] p, float[8] g, float[8] b",
      "y, z = com.microsoft.EmbedLayerNormalization(i, , w, p, , g, b)",
      "float[B,S,8] int32[B]",
    ],
  ],
  sequences: [
    ["float[2,N] a, float[3,N] b", "y = SequenceConstruct(a, b)", "seq(float[?,N])"],
    ["float[7,N] x", "y = SplitToSequence(x) <axis = 0, keepdims = 0>", "seq(float[N])"],
    ["float[2,N] a, int64 i", "s = SequenceConstruct(a) y = SequenceAt(s, i)", "float[2,N]"],
    [
      "float[2,N] a",
      "s = SequenceConstruct(a, a) y = ConcatFromSequence(s) <axis = 0, new_axis = 1>",
      "float[y_dim0,2,N]",
    ],
    ["float[2,N] a", "s = Optional(a) y = OptionalGetElement(s) z = OptionalHasElement(s)", "float[2,N] bool"],
  ],
  control: [
    [
      "bool c, float[2,N] x",
      "y = If(c) <then_branch = () => (a) { a = Neg(x) }, else_branch = () => (b) { b = Abs(x) }>",
      "float[2,N]",
    ],
    [
      "bool c, float[2,N] x",
      "y = If(c) <then_branch = () => (a) { a = Concat<axis = 0>(x, x) }, else_branch = () => (b) { b = Abs(x) }>",
      "float[y_dim0,N]",
    ],
    [
      "float[N] x | bool c = {0}",
      "y = If(c) <then_branch = () => (a) { a = Neg(x) }, else_branch = () => (b) { b = Concat<axis = 0>(x, x) }>",
      'float["2*N"]',
    ],
    [
      "float[N] x, bool c | int64 m = {5}",
      "y, z = Loop(m, , x) <body = (int64 i, bool k, s) => (k2, t, t) { k2 = Identity(k) t = Neg(s) }>",
      "float[N] float[5,N]",
    ],
    [
      "float[N] x, int64 m",
      "y = Loop(m, , x) <body = (int64 i, bool k, s) => (k2, t) { k2 = Identity(k) t = Concat<axis = 0>(s, s) }>",
      "float[y_dim0]",
    ],
    [
      "float[4] s, float[T,4] x",
      "y, z = Scan(s, x) <num_scan_inputs = 1, body = (a, b) => (c, c) { c = Add(a, b) }>",
      "float[4] float[T,4]",
    ],
  ],
};

describe.each(Object.entries(families))("%s", (_, cases) => {
  it.each(cases)("%s: %s", (inputs, body, expected, opset) => expect(typesOf(inputs, body, opset)).toBe(expected));
});

describe("what does not fit", () => {
  const cases: Case[] = [
    [
      "float[2,3] a, float[4] b",
      "y = Add(a, b)",
      'Add (output "y"): shapes can\'t be broadcast together: expected 3 or 1, got 4.',
    ],
    ["float[2,3] a, float[4,5] b", "y = MatMul(a, b)", "inner dim of the matrix product: expected 3, got 4."],
    ["float[1,4,8] x, float[8,3,3] w", "y = Conv(x, w)", "input channels: expected 3, got 4."],
    [
      "float[6] x | int64[2] s = {4, -1}",
      "y = Reshape(x, s)",
      "shape: expected a divisor of 6 elements, got 4 times -1.",
    ],
    [
      "float[6] x",
      "y = Transpose(x) <perm = [0, 0]>",
      'attribute "perm": expected a permutation of 1 axes, got [0,0].',
    ],
    ["float[2,3] x", "y = Softmax(x) z = Gather(x, i) <axis = 2>", "axis: expected -2 to 1, got 2."],
    ["float[2,3] x | int64[1] a = {1}", "y = Squeeze(x, a)", "squeezed dim: expected 1, got 3."],
    [
      "float[1,1,2] x, float[1,1,5] w",
      "y = Conv(x, w)",
      "spatial dims: expected at least the kernel's reach, got [1,1,2].",
    ],
  ];
  it.each(cases)("%s: %s", (inputs, body, message) => {
    const withIndex = body.includes("Gather") ? `${inputs}, int64 i` : inputs;
    expect(() => typesOf(withIndex, body)).toThrow(message);
  });
});

/** Operators without a rule, and why. */
const excluded: Readonly<Record<string, string>> = {
  MemcpyFromHost: "ONNX Runtime puts it in at load; no file has it",
  MemcpyToHost: "as MemcpyFromHost",
};

it("has a rule for every operator of ai.onnx", () => {
  const isLive = (op: string) => !schemaVersions("", op).at(-1)?.deprecated;
  const missing = knownOps("").filter((op) => isLive(op) && !shapeRule("", op));
  expect(missing).toEqual(Object.keys(excluded));
  expect(opsWithShapeRule("").filter((op) => !knownOps("").includes(op))).toEqual([]);
  expect(opsWithShapeRule("com.microsoft").filter((op) => !knownOps("com.microsoft").includes(op))).toEqual([]);
});
