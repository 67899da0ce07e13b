/** The two users of our own nats-server: the platform's nodes and gateways, and the workers. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const credentialSchema = z.object({ user: z.string().min(1), password: z.string().min(16) });
const credentialsSchema = z.object({ platform: credentialSchema, worker: credentialSchema });
export type Credential = z.infer<typeof credentialSchema>;
export type Credentials = z.infer<typeof credentialsSchema>;

const FILE = "nats-credentials.json";
const PASSWORD_BYTES = 24;

/** Reads the credentials of a data directory, or makes them (mode 0600) when there are none that can be read. */
export async function ensureCredentials(dataDir: string): Promise<Credentials> {
  const file = join(dataDir, FILE);
  const stored = await readFile(file, "utf8").then(tryParse, () => undefined);
  if (stored !== undefined) return stored;
  const made = { platform: makeCredential("platform"), worker: makeCredential("worker") };
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600 });
  await rename(draft, file);
  return made;
}

/** The URL that carries the credential, as the `nats` CLI and our own connections take it. */
export function urlWith(url: string, credential: Credential): string {
  const parsed = new URL(url);
  parsed.username = credential.user;
  parsed.password = credential.password;
  return parsed.href;
}

function makeCredential(user: string): Credential {
  return { user, password: randomBytes(PASSWORD_BYTES).toString("base64url") };
}

function tryParse(text: string): Credentials | undefined {
  try {
    return credentialsSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
