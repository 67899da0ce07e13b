import { defineConfig } from "vitest/config";

const SECOND = 1_000;

/** One nats-server and several processes per file: two files at a time are what two cores carry. */
const real = {
  testTimeout: 60 * SECOND,
  hookTimeout: 120 * SECOND,
  maxWorkers: 2,
};

/** `npm run test:kubernetes` makes the cluster that they need, and says where it is. */
const kubernetes = {
  extends: true as const,
  test: {
    ...real,
    name: "kubernetes",
    include: ["test/kubernetes/**/*.test.ts"],
    testTimeout: 120 * SECOND,
    // There is one cluster, and some of them break it.
    maxWorkers: 1,
  },
};

export default defineConfig({
  test: {
    pool: "forks",
    environment: "node",
    // One source of truth for what is left open: a fork that does not end is an error.
    teardownTimeout: 10 * SECOND,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/*.test.ts", "test/unit/**/*.test.ts", "test/types/**/*.test.ts"],
          testTimeout: 10 * SECOND,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "simulation",
          include: ["test/simulation/**/*.test.ts"],
          testTimeout: 300 * SECOND,
          maxWorkers: 2,
          // A schedule leaves much behind and keeps nothing: a larger nursery is collected less.
          execArgv: ["--max-semi-space-size=32"],
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          name: "integration",
          include: [
            "test/integration/**/*.test.ts",
            "test/conformance/**/*.test.ts",
            "test/isolation/**/*.test.ts",
            "test/chaos/**/*.test.ts",
            "test/fuzz/**/*.test.ts",
          ],
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          // They kill what all others need.
          name: "engine",
          include: ["test/engine/**/*.test.ts"],
          maxWorkers: 1,
          sequence: { groupOrder: 5 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          // Each is a whole deployment of a dozen containers.
          name: "compose",
          include: ["test/compose/**/*.test.ts"],
          maxWorkers: 1,
          sequence: { groupOrder: 4 },
        },
      },
      {
        extends: true,
        test: {
          ...real,
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
      ...(process.env["BERTH_TEST_KUBECONFIG"] ? [kubernetes] : []),
    ],
  },
});
