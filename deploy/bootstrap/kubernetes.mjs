/**
 * `npm run test:kubernetes`: tests against a real cluster. The one that BERTH_TEST_KUBECONFIG or KUBECONFIG names, whose one
 * machine is this one and runs its pods on the Docker Engine here; or one that is built from Debian's packages (once, about 12
 * minutes, as root), started on that engine, and removed in the end. Kept in `.berth/cache/kubernetes`, or where
 * BERTH_KUBERNETES_CACHE says.
 */
import "./node-version.mjs";
import { spawnSync } from "node:child_process";
import { ensureExecutorImage } from "../images/image.mjs";
import { canMakeBase } from "../images/offline-base.mjs";
import { isInstalled, mustRun, run, runMain, SetupError } from "./command.mjs";
import { ensureDockerEngine } from "./docker-engine.mjs";
import { ensureKustomize } from "./kustomize.mjs";
import { ensureNatsServer } from "./nats.mjs";
import { fromRoot, say } from "./place.mjs";
import { prepare } from "./prepare.mjs";
import { ensureSchemas } from "./schemas.mjs";
import { ensureSystemPackages, OPENSSL } from "./system-packages.mjs";

const EXECUTOR_IMAGE = process.env.BERTH_TEST_EXECUTOR_IMAGE || "berth-executor-test";
const BUILD_TIMEOUT_MS = 60 * 60_000;
const UP_TIMEOUT_MS = 5 * 60_000;
const TESTS_TIMEOUT_MS = 60 * 60_000;

const WITHOUT = "there is no cluster";
const PACKAGES = [
  { name: "dpkg-dev", programs: ["dpkg-source"], without: WITHOUT },
  { name: "gcc", programs: ["gcc"], without: WITHOUT },
  { name: "libc6-dev", programs: ["ldd"], without: WITHOUT },
  { name: "curl", programs: ["curl"], without: WITHOUT },
  { name: "procps", programs: ["sysctl"], without: WITHOUT },
  OPENSSL,
];
/** Of a release later than Debian 12 it is a package of its own name. */
const CLIENTS = ["kubectl", "kubernetes-client"].map((name) => ({
  name,
  programs: ["kubectl"],
  without: "tests speak to the cluster by it",
}));

const script = (name) => fromRoot("deploy", "bootstrap", "kubernetes", `${name}.sh`);

await runMain(async () => {
  await prepare();
  await ensureNatsServer();
  await ensureKustomize();
  await ensureSchemas();
  const engine = await ensureDockerEngine();
  if (engine === undefined) throw new SetupError("The tests of Kubernetes need a Docker Engine.");
  try {
    await ensureExecutorImage({ tag: EXECUTOR_IMAGE, offline: canMakeBase() });
    const given = process.env.BERTH_TEST_KUBECONFIG || process.env.KUBECONFIG;
    process.exitCode = given ? await runTests(given) : await withCluster(runTests);
  } finally {
    await engine.stop();
  }
});

async function withCluster(work) {
  await ensureSystemPackages(PACKAGES);
  for (const client of CLIENTS) if (!isInstalled("kubectl")) await ensureSystemPackages([client]);
  const build = { timeoutMs: BUILD_TIMEOUT_MS };
  await mustRun("bash", [script("build")], build, "The cluster could not be built.");
  try {
    return await work(startCluster());
  } finally {
    await run("bash", [script("down")], { timeoutMs: UP_TIMEOUT_MS });
  }
}

/** Path of the administrator's kubeconfig. */
function startCluster() {
  say("starting the cluster");
  const { status, stdout } = spawnSync("bash", [script("up")], {
    encoding: "utf8",
    timeout: UP_TIMEOUT_MS,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new SetupError("The cluster did not start: see the message above.");
  return stdout.trim();
}

async function runTests(kubeconfig) {
  const args = ["run", "--project=kubernetes", ...process.argv.slice(2)];
  const code = await run(
    process.execPath,
    [fromRoot("node_modules", "vitest", "vitest.mjs"), ...args],
    {
      isMain: true,
      timeoutMs: TESTS_TIMEOUT_MS,
      env: {
        BERTH_TEST_DOCKER: "1",
        BERTH_TEST_EXECUTOR_IMAGE: EXECUTOR_IMAGE,
        BERTH_TEST_KUBECONFIG: kubeconfig,
      },
    },
  );
  return code ?? 1;
}
