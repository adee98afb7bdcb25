/** @file Test tiers: graph (no runtime), run (ONNX Runtime), slow (end to end, fuzzing), attack (hostile input), browser (Chromium). */
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const tier = (name: string, include: string[], testTimeout: number) => ({
  test: {
    name,
    include,
    testTimeout,
    setupFiles: ["test/fail-on-console.ts"],
    environment: "node" as const,
  },
});

export default defineConfig({
  test: {
    // Of two cores, both: most tests wait for a process or a runtime with one thread.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        test: {
          ...tier("graph", ["src/**/*.test.ts", "test/**/*.test.ts"], 20_000).test,
          exclude: ["**/*.run.test.ts", "**/*.slow.test.ts", "**/*.browser.test.ts", "test/attack/**"],
        },
      },
      tier("run", ["src/**/*.run.test.ts", "test/**/*.run.test.ts"], 60_000),
      tier("slow", ["src/**/*.slow.test.ts", "test/**/*.slow.test.ts"], 600_000),
      tier("attack", ["test/attack/**/*.test.ts"], 120_000),
      {
        test: {
          ...tier("browser", ["test/**/*.browser.test.ts"], 120_000).test,
          globalSetup: ["test/browser/announce.ts"],
        },
      },
    ],
  },
});
