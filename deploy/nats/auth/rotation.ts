/**
 * Replaces a signing key while everything runs. Invariants:
 * R1 the server knows the new key before anything is signed with it, and the old one until everything that counts is
 *    signed anew: whoever may be connected stays, or is back at once with what it reads from its file.
 * R2 afterwards nothing that the old key has signed counts.
 * R3 a rotation that was broken off is taken up by the next one: its files say how far it came.
 */
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { asBerthError } from "../../../protocols/errors.ts";
import type { Clock } from "../../../runtime/clock.ts";
import type { AccountKeeper } from "../../../runtime/nats-auth/account-keeper.ts";
import type { ClaimsServer } from "../../../runtime/nats-auth/account-publisher.ts";
import { Nkey } from "../../../runtime/nats-auth/nkey.ts";
import { KEYS, type KeyName, type OperatorKeys, writeCreds } from "./operator-keys.ts";
import { fixedAccounts } from "./operator-mode.ts";
import { writePrivate } from "./private-file.ts";

/** What people call the keys that can be rotated. */
export const ROTATIONS = {
  operator: "operator-signing",
  system: "system-signing",
  platform: "platform-signing",
  gateway: "gateway-signing",
  issuer: "issuer",
} as const satisfies Record<string, KeyName>;
export type Rotation = keyof typeof ROTATIONS;

export interface RotationParts {
  readonly keys: OperatorKeys;
  readonly server: Pick<ClaimsServer, "push">;
  /** Starts the server again with what the files say; for the operator's key alone. */
  readonly restart: () => Promise<void>;
  readonly keeper: Pick<AccountKeeper, "accept" | "repair">;
  readonly clock: Clock;
  /** Between the two: for nodes to give their workers new credentials, for people to copy files to other machines. */
  readonly waitMs: number;
  readonly say: (line: string) => void;
}

const TRIES = 10;
const PAUSE_MS = 250;

export async function rotate(which: Rotation, parts: RotationParts): Promise<void> {
  const { keys, say } = parts;
  const ending = join(keys.folder, `${ROTATIONS[which]}.ending.nk`);
  if (!(await exists(ending))) await replace(which, parts, ending);
  // The file stays until the server has taken it: else nothing would say that the old key still counts (R3).
  await tell(which, parts); // R2
  await rm(ending);
  say(`the old ${which} key counts no more`);
}

/** R1. In the end the old key is in the file of that name, where nobody takes it for one that counts. */
async function replace(which: Rotation, parts: RotationParts, ending: string): Promise<void> {
  const { clock, keys, say, waitMs } = parts;
  const name = ROTATIONS[which];
  const file = (form: string) => join(keys.folder, `${name}${form}.nk`);
  const isBegun = (await exists(file(".next"))) || (await exists(file(".old")));
  if (!isBegun) await writePrivate(file(".next"), `${Nkey.make(KEYS[name]).seed}\n`);
  await tell(which, parts);
  say(`the broker knows the new ${which} key beside the old one`);
  if (await exists(file(".next"))) {
    if (!(await exists(file(".old")))) await writePrivate(file(".old"), `${keys.get(name).seed}\n`);
    await rename(file(".next"), file(""));
  }
  await writeCreds(keys, second(clock));
  await tell(which, parts);
  say(`everything is signed with the new key; the old one goes in ${Math.ceil(waitMs / 1_000)} s`);
  await clock.sleep(waitMs);
  await rename(file(".old"), ending);
}

/** What the files say now, to the server. A server takes another operator only when it starts. */
async function tell(which: Rotation, parts: RotationParts): Promise<void> {
  const { clock, keeper, keys, restart, server } = parts;
  if (which === "operator") await restart();
  const tokens = [...fixedAccounts(keys, second(clock)).values()];
  // Each may cost us our own connection, which is then made again with what the files say.
  for (const token of tokens) await untilTaken(clock, () => server.push(token));
  // Of other keys other machines' files may say more.
  const issuers = keys.all("issuer").map(({ publicKey }) => publicKey);
  if (which === "issuer") await untilTaken(clock, () => keeper.accept(issuers));
  await untilTaken(clock, () => keeper.repair());
}

async function untilTaken(clock: Clock, act: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await act();
    } catch (thrown) {
      const error = asBerthError(thrown);
      if (error.code !== "broker.unavailable" || tries >= TRIES) throw error;
      await clock.sleep(PAUSE_MS);
    }
  }
}

const second = (clock: Clock) => Math.floor(clock.now() / 1_000);

async function exists(path: string): Promise<boolean> {
  return await readFile(path).then(
    () => true,
    () => false,
  );
}
