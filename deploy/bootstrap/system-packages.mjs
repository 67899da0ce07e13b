/** Programs that tests and benchmarks need from the distribution; berth itself needs none of them. */
import { isInstalled, run } from "./command.mjs";
import { say } from "./place.mjs";

const UPDATE_TIMEOUT_MS = 3 * 60_000;
const INSTALL_TIMEOUT_MS = 10 * 60_000;

export const CHROMIUM = {
  name: "chromium",
  programs: ["chromium", "chromium-browser", "google-chrome"],
  without: "the browser tests are skipped",
};
export const REDIS = {
  name: "redis-server",
  programs: ["redis-server"],
  without: "comparisons with Redis are skipped",
};

export const OPENSSL = {
  name: "openssl",
  programs: ["openssl"],
  without: "tests of TLS have no certificates and fail",
};

/** Installs what is missing where we are root; otherwise says in one sentence each what goes without. */
export async function ensureSystemPackages(packages) {
  const missing = () => packages.filter(({ programs }) => !isInstalled(...programs));
  const wanted = missing().map(({ name }) => name);
  if (wanted.length > 0 && process.getuid?.() === 0 && isInstalled("apt-get")) {
    say(`installing ${wanted.join(" and ")} (apt-get)`);
    await aptInstall(wanted);
  }
  for (const { name, without } of missing()) {
    say(`${name} is not installed: ${without}; "sudo apt-get install ${name}" brings it.`);
  }
}

async function aptInstall(names) {
  const apt = (args, timeoutMs) =>
    run("apt-get", ["-qq", "-o", "DPkg::Lock::Timeout=60", ...args], {
      timeoutMs,
      quiet: true,
      // RUNLEVEL=1 keeps a package from starting its service.
      env: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
    });
  await apt(["update"], UPDATE_TIMEOUT_MS);
  await apt(["install", "--yes", "--no-install-recommends", ...names], INSTALL_TIMEOUT_MS);
}
