/** @file Dynamically quantized models in ONNX Runtime: they agree with the float ones, and run on its integer kernels. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nodesOfFile, outputSqnr } from "../../../test/agreement.ts";
import { runModel } from "../../../test/run-model.ts";
import { encode } from "../../../test/wire.ts";
import type { Model } from "../../ir/model.ts";
import { parse } from "../../ir/text/index.ts";
import type { Feeds } from "../../runtime/runtime.ts";
import { float32, fromNumbers, type Tensor } from "../../tensor/tensor.ts";
import { Rng } from "../../util/rng.ts";
import { quantizeDynamic } from "./dynamic.ts";
import type { DynamicOptions } from "./options.ts";
