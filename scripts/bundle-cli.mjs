/**
 * @file Bundles the command line into dist/bin: starting from some hundred small modules costs more processor time than
 * quantizing a model of 400 MB. So does the worker of method pools, each of which loads its modules anew. The library in dist is left as it is.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { rolldown } from "rolldown";

const root = new URL("..", import.meta.url);
const path = (relative) => decodeURIComponent(new URL(relative, root).pathname);

/** Packages that go into the bundle, all of them small and without native parts; the rest is imported as usual. */
const bundled = ["picocolors", "picomatch", "zod"];
const isOwn = (id) => id.startsWith(".") || id.startsWith("/") || /^[A-Za-z]:/.test(id);

rmSync(path("dist/bin"), { recursive: true, force: true });
// Apart from each other: what they share must not bring the rest of the command line into workers.
for (const [name, module] of Object.entries({
  tersor: "cli/main.js",
  "method-worker": "recipe/node/method-worker.js",
})) {
  const bundle = await rolldown({
    input: { [name]: path(`dist/${module}`) },
    platform: "node",
    external: (id) => !isOwn(id) && !bundled.includes(id.split("/")[0]),
    treeshake: { moduleSideEffects: (id) => id.endsWith(`/dist/${module}`) },
  });
  await bundle.write({
    dir: path("dist/bin"),
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: `${name}-[name].js`,
  });
  await bundle.close();
}

const licences = bundled.map((name) => `${name}\n\n${readFileSync(path(`node_modules/${name}/LICENSE`), "utf8")}`);
writeFileSync(path("dist/bin/LICENSES.txt"), licences.join("\n\n----\n\n"));
