/** @file Cases of the gradient check: Resize. ONNX Runtime computes it in float32 only, and it is linear. */
import type { Case, Cases } from "./gradcheck.ts";

interface Form {
  readonly dims?: string;
  readonly scales?: string;
  readonly sizes?: string;
  readonly roi?: string;
  readonly attributes: string;
}

function resize({ dims = "1,2,4,5", scales, sizes, roi, attributes }: Form): Case {
  const list = (type: string, name: string, text: string | undefined) =>
    text ? [`${type}[${text.split(",").length}] ${name} = {${text}}`] : [];
  const constants = [...list("float", "s", scales), ...list("int64", "n", sizes), ...list("float", "roi", roi)];
  const args = ["x", roi ? "roi" : '""', scales ? "s" : '""', ...(sizes ? ["n"] : [])];
  const text = `(T[${dims}] x) => (y) <${constants.join(", ")}> { y = Resize<${attributes}>(${args.join(", ")}) }`;
  return { text, dtype: "float", step: 0.5, tolerance: 1e-4 };
}

const coordinates = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"];
const roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
const inMode = (mode: string, rest = "") =>
  coordinates.map((each) =>
    resize({
      scales: "1, 1, 2, 0.6",
      attributes: `mode = "${mode}", coordinate_transformation_mode = "${each}"${rest}`,
    }),
  );

export const resizes: Cases = {
  Resize: [
    ...roundings.flatMap((rounding) => inMode("nearest", `, nearest_mode = "${rounding}"`)),
    ...inMode("linear"),
    ...inMode("cubic"),
    resize({ scales: "1, 1, 0.5, 3", attributes: 'mode = "cubic", cubic_coeff_a = -0.5, exclude_outside = 1' }),
    resize({ sizes: "1, 2, 7, 3", attributes: 'mode = "linear"' }),
    resize({ sizes: "8, 10", attributes: 'mode = "nearest", axes = [2, 3]' }),
    resize({ dims: "4,6", scales: "2, 1.5", attributes: 'mode = "linear"' }),
    resize({ dims: "1,1,2,3,4", sizes: "1, 1, 4, 3, 5", attributes: 'mode = "linear"' }),
    resize({ scales: "1, 1, 0.5, 0.4", attributes: 'mode = "linear", antialias = 1' }),
    resize({ scales: "1, 1, 0.5, 0.6", attributes: 'mode = "cubic", antialias = 1' }),
    resize({
      sizes: "1, 2, 3, 3",
      roi: "0, 0, 0.2, -0.2, 1, 1, 0.8, 1.1",
      attributes: 'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 2.0',
    }),
  ],
};
