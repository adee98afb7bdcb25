/** @file Gradients of models, as models. */
export { type GradientOptions, type GradientResult, gradient } from "../../autodiff/gradient.ts";
