/**
 * The Docker Engine that tests use. `npm test` starts one if none runs, builds the image of workers on it, and says
 * so by BERTH_TEST_DOCKER and BERTH_TEST_EXECUTOR_IMAGE; without the first, tests of Docker skip themselves, loudly.
 */
import Docker from "dockerode";
import { describe } from "vitest";

const isThere = (process.env["BERTH_TEST_DOCKER"] ?? "") !== "";

/** Image of workers, made of this checkout. */
export const EXECUTOR_IMAGE = process.env["BERTH_TEST_EXECUTOR_IMAGE"] ?? "berth-executor-test";

/** Opens no connection until it is asked something. */
export const docker = new Docker();

/** As `describe`, for tests that need an engine. */
export function describeDocker(name: string, body: () => void): void {
  const title = isThere
    ? name
    : `${name} (SKIPPED: set BERTH_TEST_DOCKER=1, with a Docker Engine running)`;
  describe.skipIf(!isThere)(title, body);
}
