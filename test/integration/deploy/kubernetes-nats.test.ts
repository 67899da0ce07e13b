/** What the tree gives its broker's pods, by the real nats-server's own check. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadConfig } from "../../../deploy/config.ts";
import { accessText } from "../../../deploy/nats/access.ts";
import { runCommand } from "../../../deploy/nats/command.ts";
import { findNatsServer } from "../../../deploy/nats/find-server.ts";
import { certificateFor } from "../../support/certificate.ts";
import { build, describeKustomize } from "../../support/kubernetes/kustomize.ts";
import { workloadsOf } from "../../support/kubernetes/manifest.ts";
import { dataOf, environmentOf } from "../../support/kubernetes/reference-faults.ts";
import { ROOT } from "../../support/source.ts";

const CHECK_MS = 20_000;
/** Where the pod has what a Secret brings. */
const CERTIFICATES = "/etc/nats-tls";

/** The files of the pod's volume in a folder, and the server's words on the one that it is started with. */
async function check(environment: string): Promise<string> {
  const { binary } = await findNatsServer({ cacheDir: join(ROOT, ".berth", "cache") });
  const manifests = await build(`kubernetes/environments/${environment}`);
  const nats = workloadsOf(manifests).find(({ manifest }) => manifest.metadata.name === "nats")!;
  const map = manifests.find(({ metadata }) => metadata.name.startsWith("nats-config"))!;
  const folder = await mkdtemp(join(tmpdir(), "berth-kubernetes-nats-"));
  try {
    const { key, cert } = await certificateFor("nats.berth-backend.svc");
    const files = {
      ...dataOf(map),
      "access.conf": await accessText(loadConfig({ BERTH_NATS_AUTH: join(folder, "keys") })),
      ...{ "tls.key": key, "tls.crt": cert, "ca.crt": cert },
    };
    for (const [name, text] of Object.entries(files))
      await writeFile(join(folder, name), text.replaceAll(CERTIFICATES, folder));
    const { args = [] } = nats.pod.spec.containers[0]!;
    const [flag, file, ...rest] = args.map((arg) => arg.replace("/etc/nats", folder));
    const variables = Object.entries(environmentOf(manifests, nats)).map(([n, v]) => `${n}=${v}`);
    const { code, stderr } = await runCommand(
      "env",
      [
        ...variables,
        "NATS_NAME=nats-0",
        `NATS_ACCOUNTS=${folder}`,
        binary,
        "-t",
        flag!,
        file!,
        ...rest,
      ],
      { timeoutMs: CHECK_MS },
    );
    return `${code}: ${stderr}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describeKustomize("the broker of the Kubernetes tree", () => {
  it.each(["development", "staging", "production"])(
    "has a valid configuration in %s",
    async (name) => {
      expect(await check(name)).toMatch(/^0: .* is valid/s);
    },
  );
});
