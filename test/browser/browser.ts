/** @file A headless Chromium that runs models in onnxruntime-web, from a server of this process. */
import { accessSync, constants, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, delimiter, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright-core";
import type { Model } from "../../src/ir/model.ts";
import type { Feeds, Outputs } from "../../src/runtime/io.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { encode } from "../wire.ts";

const names = ["chromium", "chromium-browser", "google-chrome"];

/** The browser of this machine: CHROMIUM_PATH, or the first of the usual names in PATH. */
export const chromiumPath =
  process.env.CHROMIUM_PATH ||
  (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(isExecutable);

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Builds of onnxruntime-web: native WebGPU, wasm alone, and the older JSEP (the package's default). */
export const bundles = {
  webgpu: "ort.webgpu.bundle.min.mjs",
  wasm: "ort.wasm.bundle.min.mjs",
  jsep: "ort.bundle.min.mjs",
} as const;
export type BundleName = keyof typeof bundles;

export interface Adapter {
  readonly vendor: string;
  readonly architecture: string;
  readonly features: readonly string[];
}

export interface Browser {
  /** The GPU that pages see; null without one. */
  adapter(): Promise<Adapter | null>;
  /** Runs a model once in a page with that bundle. @throws what the page's runtime throws */
  run(model: Model, feeds: Feeds, bundle: BundleName, provider: "webgpu" | "wasm"): Promise<Outputs>;
  close(): Promise<void>;
}

const dist = fileURLToPath(new URL("../../node_modules/onnxruntime-web/dist/", import.meta.url));
const types: Readonly<Record<string, string>> = { ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** WebGPU in software, as a machine without a GPU has it. */
const flags = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
];

interface PageResult {
  readonly outputs?: Record<string, { readonly dtype: DType; readonly dims: number[]; readonly data: number[] }>;
  readonly error?: string;
}

/** Starts the browser and the server. Pages are cross-origin isolated, as threads and exact timers want it. */
export async function openBrowser(executablePath: string): Promise<Browser> {
  const models = new Map<string, Uint8Array>();
  const server = createServer(({ url = "/" }, response) => {
    const { pathname } = new URL(url, "http://localhost");
    const [, kind, name = ""] = pathname.split("/");
    const body =
      kind === "page"
        ? readFileSync(new URL("page.html", import.meta.url))
        : kind === "ort"
          ? readFileSync(join(dist, basename(name)))
          : models.get(name);
    response.writeHead(body ? 200 : 404, {
      "Content-Type": kind === "page" ? "text/html" : (types[extname(name)] ?? "application/octet-stream"),
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`;
  const browser = await chromium.launch({ executablePath, args: flags });
  const pages = new Map<BundleName, Promise<Page>>();
  const open = async (bundle: BundleName): Promise<Page> => {
    const page = await browser.newPage();
    await page.goto(`${origin}/page?bundle=${bundles[bundle]}`);
    await page.waitForFunction("window.isReady", undefined, { timeout: 60_000 });
    return page;
  };
  const pageOf = (bundle: BundleName) => {
    const page = pages.get(bundle) ?? open(bundle);
    pages.set(bundle, page);
    return page;
  };
  return {
    adapter: async () => (await pageOf("webgpu")).evaluate("window.webgpu ?? null"),
    run: async (model, feeds, bundle, provider) => {
      const id = crypto.randomUUID();
      models.set(id, encode(model));
      const plain = Object.fromEntries(
        Object.entries(feeds).map(([name, { dtype, dims, data }]) => [
          name,
          { dtype, dims, data: Array.from(data, Number) },
        ]),
      );
      const page = await pageOf(bundle);
      const request = JSON.stringify({ url: `/models/${id}`, provider, feeds: plain });
      const { outputs, error } = await page.evaluate<PageResult>(`window.runModel(${request})`);
      models.delete(id);
      if (!outputs) throw new Error(`${bundle}, ${provider}: ${error}`);
      return Object.fromEntries(
        Object.entries(outputs).map(([name, { dtype, dims, data }]) => [name, hostTensor(dtype, dims, data)]),
      );
    },
    close: async () => {
      await browser.close();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
