/** A certificate that is its own authority, made for one test. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mustRun, runCommand } from "../../executor/drivers/docker/command.ts";

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

export async function certificateFor(
  ...hosts: readonly [string, ...string[]]
): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), "berth-certificate-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  try {
    const names = [
      "-subj",
      `/CN=${hosts[0]}`,
      "-addext",
      `subjectAltName=${hosts.map((host) => `${isIP(host) ? "IP" : "DNS"}:${host}`).join()}`,
    ];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const files = ["-keyout", key, "-out", cert];
    await mustRun(runCommand, "openssl", [
      "req",
      "-x509",
      "-days",
      "2",
      ...kind,
      ...names,
      ...files,
    ]);
    return { key: await readFile(key, "utf8"), cert: await readFile(cert, "utf8") };
  } finally {
    await rm(folder, { recursive: true });
  }
}
