/** @file Cases of the gradient check: convolution and its transpose. Both are linear in each input: a large step is exact. */
import type { Case, Cases } from "./gradcheck.ts";

function conv(text: string): Case {
  return { text, dtype: "float", step: 0.5, tolerance: 1e-5 };
}

export const convs: Cases = {
  Conv: [
    conv("(T[2,3,5,6] x, T[4,3,3,3] w, T[4] b) => (y) { y = Conv<pads = [1, 1, 1, 1]>(x, w, b) }"),
    conv("(T[1,2,22,21] x, T[3,2,3,3] w) => (y) { y = Conv<pads = [1, 1, 1, 1]>(x, w) }"),
    conv("(T[1,2,22,21] x, T[3,2,3,2] w) => (y) { y = Conv<pads = [2, 0, 1, 1], dilations = [1, 2]>(x, w) }"),
    conv("(T[2,2,7,8] x, T[3,2,3,3] w) => (y) { y = Conv<strides = [2, 3], pads = [0, 1, 2, 0]>(x, w) }"),
    conv("(T[2,2,9,9] x, T[3,2,3,2] w) => (y) { y = Conv<dilations = [2, 3], strides = [1, 2]>(x, w) }"),
    conv("(T[2,3,4,4] x, T[5,3,1,1] w, T[5] b) => (y) { y = Conv(x, w, b) }"),
    conv("(T[2,3,5,5] x, T[5,3,1,1] w) => (y) { y = Conv<strides = [2, 2]>(x, w) }"),
    conv("(T[2,4,5,5] x, T[6,2,3,3] w, T[6] b) => (y) { y = Conv<group = 2, pads = [1, 1, 1, 1]>(x, w, b) }"),
    conv("(T[2,4,6,5] x, T[6,2,3,3] w) => (y) { y = Conv<group = 2, strides = [2, 2]>(x, w) }"),
    conv("(T[2,4,5,5] x, T[4,1,3,3] w, T[4] b) => (y) { y = Conv<group = 4, pads = [1, 1, 1, 1]>(x, w, b) }"),
    conv("(T[2,3,6,7] x, T[6,1,3,3] w) => (y) { y = Conv<group = 3, strides = [2, 2], pads = [1, 0, 1, 1]>(x, w) }"),
    // A sample at a time.
    conv(
      "(T[2,2,128,128] x, T[2,1,3,3] w) => (y) { y = Conv<group = 2, strides = [2, 2], pads = [1, 1, 1, 1]>(x, w) }",
    ),
    conv(`(T[2,2,6,7] x, T[3,2,3,4] w) => (y) { y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w) }`),
    conv(`(T[2,2,6,7] x, T[3,2,3,4] w) => (y) { y = Conv<auto_pad = "SAME_LOWER", strides = [1, 2]>(x, w) }`),
    conv(`(T[2,2,6,7] x, T[3,2,3,4] w) => (y) { y = Conv<auto_pad = "VALID", strides = [2, 1]>(x, w) }`),
    conv(
      "(T[2,3,9] x, T[4,3,3] w, T[4] b) => (y) { y = Conv<strides = [2], pads = [1, 1], dilations = [2]>(x, w, b) }",
    ),
    conv("(T[1,2,5,4,6] x, T[3,2,2,3,3] w) => (y) { y = Conv<pads = [1, 0, 1, 0, 1, 2], strides = [1, 1, 2]>(x, w) }"),
    conv("(T[1,2,3,4,5] x, T[2,1,2,2,2] w) => (y) { y = Conv<group = 2>(x, w) }"),
  ],
  ConvTranspose: [
    conv("(T[2,3,4,5] x, T[3,2,3,3] w, T[2] b) => (y) { y = ConvTranspose(x, w, b) }"),
    conv(`(T[2,3,4,5] x, T[3,2,3,3] w) => (y) {
      y = ConvTranspose<strides = [2, 3], pads = [1, 0, 1, 2], output_padding = [1, 2]>(x, w) }`),
    conv("(T[2,4,4,5] x, T[4,3,3,2] w, T[6] b) => (y) { y = ConvTranspose<group = 2, dilations = [2, 1]>(x, w, b) }"),
    conv("(T[2,3,4,5] x, T[3,1,3,3] w) => (y) { y = ConvTranspose<group = 3, strides = [2, 2]>(x, w) }"),
    conv(`(T[2,3,4,5] x, T[3,2,3,4] w) => (y) { y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w) }`),
    conv(`(T[2,3,4,5] x, T[3,2,3,4] w) => (y) { y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_LOWER">(x, w) }`),
    conv("(T[2,3,4,5] x, T[3,2,4,3] w) => (y) { y = ConvTranspose<strides = [2, 2], output_shape = [9, 10]>(x, w) }"),
    conv("(T[2,3,6] x, T[3,2,3] w) => (y) { y = ConvTranspose<strides = [2]>(x, w) }"),
    conv("(T[1,2,3,2,4] x, T[2,2,2,2,2] w) => (y) { y = ConvTranspose<strides = [2, 1, 1]>(x, w) }"),
  ],
};
