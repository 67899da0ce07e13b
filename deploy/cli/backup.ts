/** `berth backup`: a copy of all that Berth keeps, checked and put back. */
import { Command } from "commander";
import { parseDuration } from "../../protocols/duration.ts";
import { BerthError } from "../../protocols/errors.ts";
import type { Manifest } from "../backup/manifest.ts";
import { action, type CliContext } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { humaneBytes, humaneDuration } from "./humane.ts";
import type { Starters } from "./up.ts";

interface Asked {
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

interface KeyOptions {
  readonly withKeys?: boolean;
  readonly keysOnly?: boolean;
  readonly passphraseFile?: string;
}

export function backupCommand(context: CliContext, starters: Starters): Command {
  const { terminal } = context;
  const create = new Command("create")
    .description("save streams, buckets, accounts and, when asked, keys into a new folder")
    .argument("<folder>", "must not exist")
    .option("--max-hold <duration>", "longest time for which actors may stand still", "60s")
    .option("--with-keys", "save the broker's and the vault's keys too, sealed by a passphrase")
    .option("--passphrase-file <file>", "holds the passphrase; of mode 0600")
    .action(
      action(context, (folder: string, options: KeyOptions & { maxHold: string }) =>
        unlessInterrupted(context, async (asked) => {
          const passphraseFile = passphraseOf(options);
          const maxHoldMs = parseDuration(options.maxHold);
          const commands = await starters.backup();
          const made = await commands.create({ ...asked, folder, maxHoldMs, passphraseFile });
          await terminal.out(`${made.folder}: ${summary(made.manifest)}\n`);
        }),
      ),
    );
  const verify = new Command("verify")
    .description("read every byte of a backup; needs no broker")
    .argument("<folder>")
    .action(
      action(context, (folder: string) =>
        unlessInterrupted(context, async (asked) => {
          const commands = await starters.backup();
          const manifest = await commands.verify({ ...asked, folder });
          await terminal.out(`${folder} is whole: ${summary(manifest)}\n`);
        }),
      ),
    );
  const restore = new Command("restore")
    .description("put a backup into a broker that holds nothing of Berth")
    .argument("<folder>")
    .option("--stream <name>", "only this stream, which must be missing")
    .option("--with-keys", "put the keys in their places first")
    .option("--keys-only", "put the keys in their places, and nothing else")
    .option("--passphrase-file <file>", "holds the passphrase; of mode 0600")
    .action(
      action(context, (folder: string, options: KeyOptions & { stream?: string }) =>
        unlessInterrupted(context, async (asked) => {
          const commands = await starters.backup();
          const { stream } = options;
          const manifest = await commands.restore({
            ...{ ...asked, folder, stream },
            passphraseFile: passphraseOf(options),
            keysOnly: options.keysOnly === true,
          });
          const what = options.keysOnly === true ? "its keys" : (stream ?? summary(manifest));
          await terminal.out(`restored ${what}\n`);
        }),
      ),
    );
  return new Command("backup")
    .description("save all that Berth keeps, check it, put it back")
    .addCommand(create)
    .addCommand(verify)
    .addCommand(restore);
}

function passphraseOf({ keysOnly, passphraseFile, withKeys }: KeyOptions): string | undefined {
  const wants = withKeys === true || keysOnly === true;
  if (wants === (passphraseFile !== undefined)) return passphraseFile;
  const message = wants ? "keys need --passphrase-file" : "--passphrase-file is for keys";
  throw new BerthError("config.invalid", `${message}; see --with-keys`);
}

/** What is broken off has undone what it did before this resolves. */
async function unlessInterrupted(
  context: CliContext,
  work: (asked: Asked) => Promise<void>,
): Promise<number> {
  const { terminal } = context;
  const asked = new AbortController();
  const release = context.onInterrupt(() => asked.abort());
  try {
    await work({ signal: asked.signal, say: (line) => void terminal.err(`${line}\n`) });
    return EXIT.ok;
  } catch (thrown) {
    if (!asked.signal.aborted) throw thrown;
    await terminal.err("Interrupted: nothing was kept.\n");
    return EXIT.interrupted;
  } finally {
    release();
  }
}

function summary({ keys, quiet_from, quiet_until, streams }: Manifest): string {
  const messages = streams.reduce((sum, { state }) => sum + state.messages, 0);
  const bytes = streams.reduce((sum, stream) => sum + stream.bytes, 0);
  const quiet = humaneDuration(Date.parse(quiet_until) - Date.parse(quiet_from));
  return [
    `${streams.length} streams`,
    `${messages} messages`,
    humaneBytes(bytes),
    ...(keys ? ["keys"] : []),
    `of ${quiet_from}, in ${quiet}`,
  ].join(", ");
}
