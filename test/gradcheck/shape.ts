/** @file Cases of the gradient check: what moves, repeats, cuts and joins elements. All are linear. */
import type { Cases } from "./gradcheck.ts";

export const shapes: Cases = {
  Reshape: [
    "(T[2,3,4] x) => (y) <int64[2] s = {4, -1}> { y = Reshape(x, s) }",
    { text: "(T[N,3] x) => (y) <int64[1] s = {-1}> { h = Exp(x) y = Reshape(h, s) }", shapes: { N: 2 } },
  ],
  Flatten: [
    "(T[2,3,4] x) => (y) { y = Flatten<axis = 2>(x) }",
    "(T[2,3] x) => (y) { y = Flatten<axis = 0>(x) }",
    "(T[2,3,4] x) => (y) { y = Flatten<axis = -2>(x) }",
  ],
  Squeeze: ["(T[2,1,4] x) => (y) { y = Squeeze(x) }", "(T[2,1,1] x) => (y) <int64[1] a = {-1}> { y = Squeeze(x, a) }"],
  Unsqueeze: ["(T[2,3] x) => (y) <int64[2] a = {0, -1}> { y = Unsqueeze(x, a) }"],
  Transpose: [
    "(T[2,3,4] x) => (y) { y = Transpose(x) }",
    "(T[2,3,4,5] x) => (y) { y = Transpose<perm = [2, 0, 3, 1]>(x) }",
  ],
  Expand: [
    "(T[3,1] x) => (y) <int64[3] s = {2, 1, 4}> { y = Expand(x, s) }",
    "(T x) => (y) <int64[2] s = {2, 3}> { y = Expand(x, s) }",
  ],
  Tile: [
    "(T[2,3] x) => (y) <int64[2] r = {2, 3}> { y = Tile(x, r) }",
    "(T[2,3] x) => (y) <int64[2] r = {1, 1}> { y = Tile(x, r) }",
  ],
  Concat: [
    "(T[2,3] a, T[2,1] b, T[2,2] c) => (y) { y = Concat<axis = -1>(a, b, c) }",
    "(T[2,3] a) => (y) { y = Concat<axis = 0>(a, a) }",
  ],
  Split: [
    "(T[2,5] x) => (a, b) <int64[2] s = {2, 3}> { a, b = Split<axis = 1>(x, s) }",
    "(T[2,5] x) => (b) <int64[3] s = {2, 1, 2}> { a, b, c = Split<axis = 1>(x, s) }",
    "(T[5] x) => (b) { a, b = Split<num_outputs = 2>(x) }",
  ],
  Slice: [
    `(T[4,7] x) => (y) <int64[2] s = {1, -5}, int64[2] e = {3, 100}, int64[2] a = {0, 1}> { y = Slice(x, s, e, a) }`,
    `(T[4,7] x) => (y) <int64[1] s = {1}, int64[1] e = {7}, int64[1] a = {-1}, int64[1] t = {2}> { y = Slice(x, s, e, a, t) }`,
    `(T[4,7] x) => (y) <int64[2] s = {-1, 5}, int64[2] e = {-100, 0}, int64[2] a = {0, 1}, int64[2] t = {-1, -2}> {
      y = Slice(x, s, e, a, t) }`,
    `(T[9] x) => (y) <int64[1] s = {100}, int64[1] e = {0}, int64[1] a = {0}, int64[1] t = {-3}> { y = Slice(x, s, e, a, t) }`,
    `(T[3,2] x) => (y) <int64[1] s = {1}, int64[1] e = {2}> { y = Slice(x, s, e) }`,
  ],
  Pad: [
    "(T[2,3] x, T v) => (y) <int64[4] p = {1, 0, 0, 2}> { y = Pad(x, p, v) }",
    "(T[2,5] x) => (y) <int64[4] p = {0, -1, 1, -2}> { y = Pad(x, p) }",
    `(T[4,5] x) => (y) <int64[4] p = {2, 1, 1, 3}> { y = Pad<mode = "reflect">(x, p) }`,
    `(T[4,5] x) => (y) <int64[4] p = {2, 0, 1, 3}> { y = Pad<mode = "edge">(x, p) }`,
    `(T[4,5] x) => (y) <int64[2] p = {2, 3}, int64[1] a = {-1}> { y = Pad<mode = "wrap">(x, p, , a) }`,
  ],
  DepthToSpace: [
    "(T[1,8,2,3] x) => (y) { y = DepthToSpace<blocksize = 2>(x) }",
    `(T[1,8,2,3] x) => (y) { y = DepthToSpace<blocksize = 2, mode = "CRD">(x) }`,
  ],
  SpaceToDepth: [
    "(T[1,2,4,6] x) => (y) { y = SpaceToDepth<blocksize = 2>(x) }",
    "(T[2,1,3,6] x) => (y) { y = SpaceToDepth<blocksize = 3>(x) }",
  ],
  Trilu: ["(T[2,4,5] x) => (y) <int64 k = {1}> { y = Trilu<upper = 0>(x, k) }", "(T[4,4] x) => (y) { y = Trilu(x) }"],
  Dropout: [
    "(T[2,4] x) => (y) { y = Dropout(x) }",
    "(T[2,4] x) => (y) <float r = {0.4}, bool t = {0}> { y = Dropout(x, r, t) }",
  ],
};
