/**
 * @file Reports against files, all combinations: every model at hand × every value of every option that changes what is written. The checker and the rows are
 * those of test/completeness; CI takes all pairs of them.
 *
 * Usage: node bench/completeness.mjs [--plan NAME] [--model NAME] [--minutes N] [--checkpoint FILE] [--pairs]
 * Needs `npm run build`. What is done stands in the checkpoint (a line per row): the same command goes on where it was stopped. Exit code 1 when a report is untrue and not known to be.
 * Takes days in full: --plan and --model take a part of it, --minutes stops after a time, --pairs takes all pairs with the large models too.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: args } = parseArgs({
  options: {
    plan: { type: "string" },
    model: { type: "string" },
    minutes: { type: "string", default: "Infinity" },
    checkpoint: { type: "string", default: "completeness.jsonl" },
    pairs: { type: "boolean", default: false },
  },
});

/** The tests are TypeScript: bundled once; what they import of the source is taken from dist. */
async function load(folder) {
  const file = join(folder, "completeness.mjs");
  const built = {
    name: "built",
    resolveId(id) {
      const [, path] = /^\.\.\/\.\.\/src\/(.*)\.ts$/.exec(id) ?? [];
      return path && { id: pathToFileURL(join(root, "dist", `${path}.js`)).href, external: true };
    },
  };
  const input = join(root, "test", "completeness", "bench-entry.ts");
  const bundle = await rolldown({ input, platform: "node", plugins: [built] });
  await bundle.write({ file, format: "esm" });
  process.env.TERSOR_REPOSITORY = root;
  return import(pathToFileURL(file).href);
}

const folder = mkdtempSync(join(tmpdir(), "tersor-completeness-"));
try {
  const { models, plans, product, pairwise, known, Bench } = await load(folder);
  const bench = new Bench(folder);
  const lines = existsSync(args.checkpoint) ? readFileSync(args.checkpoint, "utf8").split("\n").filter(Boolean) : [];
  const done = new Map(lines.map((line) => JSON.parse(line)).map((entry) => [entry.key, entry]));
  const end = Date.now() + Number(args.minutes) * 60_000;
  const totals = { rows: 0, refused: 0, untrue: 0, known: 0 };
  for (const plan of plans.filter(({ name }) => !args.plan || name === args.plan))
    for (const model of models.filter(({ name }) => !args.model || name === args.model))
      for (const row of (args.pairs ? pairwise : product)({ model: [model.name], ...plan.factors }, plan.fits)) {
        if (Date.now() > end) break;
        const key = `${plan.name} ${JSON.stringify(row)}`;
        const isNew = !done.has(key);
        const entry = done.get(key) ?? { key, ...(await bench.run(model, plan, row)) };
        if (isNew) appendFileSync(args.checkpoint, `${JSON.stringify(entry)}\n`);
        const isKnown = (fault) =>
          known.some((each) => each.plan === plan.name && each.when(row) && each.fault.test(fault));
        const untrue = entry.faults.filter((fault) => !isKnown(fault));
        totals.rows++;
        if (entry.refused !== undefined) totals.refused++;
        if (untrue.length > 0) totals.untrue++;
        else if (entry.faults.length > 0) totals.known++;
        for (const fault of untrue) console.log(`${key}: ${fault}`);
      }
  const { rows, refused, untrue, known: expected } = totals;
  console.log(`${rows} rows: ${refused} refused, ${untrue} untrue, ${expected} known to be`);
  process.exitCode = untrue > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
