/** `berth up` whose nats-server speaks TLS by a certificate of the test's own. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCreds } from "../../../deploy/nats/auth/operator-keys.ts";
import { BerthClient } from "../../../gateway/client.ts";
import { tlsOptions } from "../../../runtime/nats-auth/broker-tls.ts";
import { authenticatorOf } from "../../../runtime/nats-auth/credential.ts";
import { type BerthProcess, spawnBerth } from "../../support/berth-process.ts";
import { type Certificate, certificateFor } from "../../support/certificate.ts";
import { eventually } from "../../support/eventually.ts";

const HOST = "127.0.0.1";

let folder: string;
let own: Certificate;
let berth: BerthProcess;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "berth-tls-"));
  own = await certificateFor(HOST);
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  await writeFile(cert, own.cert);
  await writeFile(key, own.key, { mode: 0o600 });
  berth = await spawnBerth({
    BERTH_NATS_TLS_CERT: cert,
    BERTH_NATS_TLS_KEY: key,
    BERTH_NATS_TLS_CA: cert,
  });
}, 120_000);
afterAll(async () => {
  await berth?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As the platform, believing in that authority and those names. */
async function dial(ca: string | undefined, names: readonly string[] = [HOST]) {
  const { nats_url, nats_creds = "" } = await berth.dev();
  const nc = await connect({
    servers: new URL(nats_url).host,
    authenticator: authenticatorOf(() => readCreds(nats_creds)),
    ...(ca === undefined ? {} : { tls: tlsOptions({ ca, names }) }),
    reconnect: false,
  });
  await nc.close();
}

describe("a nats-server that speaks TLS", () => {
  it("is used by node, gateway and workers: a job runs", async () => {
    const { url, keys } = await berth.dev();
    const client = new BerthClient({ url, key: keys.pro, patienceMs: 60_000 });
    const job = await client.submit({ agent: "shell", prompt: "echo over TLS" });
    await eventually(async () => (await client.job(job.id)).state === "succeeded", {
      within: 30_000,
      name: "the job is done",
    });
  }, 60_000);

  it("is believed by who knows its authority and its name, and by nobody else", async () => {
    await dial(own.cert);
    await expect(dial(undefined)).rejects.toThrow();
    await expect(dial((await certificateFor(HOST)).cert)).rejects.toThrow();
    await expect(dial(own.cert, ["elsewhere.example"])).rejects.toThrow();
  });
});
