/**
 * @file Compiles src/kernels/assembly to wasm and writes it as base64 into src/kernels/kernels.wasm.ts.
 * `--check` compiles and compares instead, and fails when source and committed binary disagree.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const root = fileURLToPath(new URL("..", import.meta.url));
const target = new URL("../src/kernels/kernels.wasm.ts", import.meta.url);

const options = [
  ["src/kernels/assembly/index.ts", "--baseDir", root, "--outFile", "kernels.wasm"],
  ["--runtime", "stub", "--noAssert", "-O3", "--importMemory", "--enable", "simd", "--use", "abort="],
].flat();

let wasm;
const { error, stderr } = await asc.main(options, {
  writeFile: (_name, contents) => {
    wasm = contents;
  },
});
if (error || !wasm) {
  console.error(`build-kernels: the kernels do not compile:\n${stderr.toString()}${error?.message ?? ""}`);
  process.exit(1);
}

const base64 = Buffer.from(wasm).toString("base64");
const lines = base64.match(/.{1,116}/g) ?? [];
const text = `/** @file The compiled kernels (${wasm.length} bytes), written by scripts/build-kernels.mjs from src/kernels/assembly. */

/** The WebAssembly module as base64. */
export const wasmBase64 =
${lines.map((line) => `  "${line}"`).join(" +\n")};
`;

if (process.argv.includes("--check")) {
  let committed = "";
  try {
    committed = readFileSync(target, "utf8");
  } catch {
    // Reported below as a difference.
  }
  if (committed !== text) {
    console.error(
      "build-kernels: src/kernels/kernels.wasm.ts does not match src/kernels/assembly: expected the compiler's output, got a different file. Run `npm run kernels` and commit the result.",
    );
    process.exit(1);
  }
  console.log(`kernels.wasm.ts is up to date (${wasm.length} bytes).`);
} else {
  writeFileSync(target, text);
  console.log(`wrote src/kernels/kernels.wasm.ts (${wasm.length} bytes of wasm).`);
}
