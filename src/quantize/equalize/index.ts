/** @file The table of what prepares a model for quantization without changing what it computes, and of what repairs it behind. */
import * as z from "zod";
import { awqScaleOptions } from "./awq.ts";
import { smoothQuantOptions } from "./smoothquant.ts";

export interface Equalization {
  readonly paper: string;
  /** One line for help and documents. */
  readonly summary: string;
  /** Of the inputs of layers, from calibration data. */
  readonly needs: string;
  readonly options: z.ZodObject;
}

const none = z.strictObject({});

export const equalizations = {
  "cross-layer": {
    paper: "Nagel et al. 2019, https://arxiv.org/abs/1906.04721",
    summary: "neighbouring layers share their channels' ranges evenly, so that one scale per tensor fits them all",
    needs: "nothing",
    options: none,
  },
  smoothquant: {
    paper: "Xiao et al. 2022, https://arxiv.org/abs/2211.10438",
    summary: "moves the size of outlier channels from activations to weights, so that both quantize well",
    needs: "largest magnitude per channel",
    options: smoothQuantOptions,
  },
  awq: {
    paper: "Lin et al. 2023, https://arxiv.org/abs/2306.00978",
    summary: "gives weights that meet large activations finer steps, by a factor that the layer before divides out",
    needs: "second moments and mean magnitudes",
    options: awqScaleOptions,
  },
  "bias-correction": {
    paper: "Nagel et al. 2019, https://arxiv.org/abs/1906.04721",
    summary: "afterwards: biases take back the shift that quantized weights cause in the mean",
    needs: "means per channel; what a batch normalization in front tells will do",
    options: none,
  },
} as const satisfies Readonly<Record<string, Equalization>>;
