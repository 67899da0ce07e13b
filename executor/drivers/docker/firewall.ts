/**
 * A node's rules in its host's firewall: put there, kept there, taken away.
 *
 * Invariants:
 * F1 The rules of a table change in one transaction, first those of the table that judges: workers never meet half of them.
 * F2 Only chains of our own are written, and only jumps to them in those of others.
 * F3 A host on which this fails still runs workers; `weaknesses` says what they can do.
 */
import { readFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { asBerthError, BerthError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../runtime/logger.ts";
import { type CommandEnd, type RunCommand, runCommand } from "./command.ts";
import {
  decideRemoval,
  decideRestore,
  type Known,
  type Listing,
  ownRules,
  parseListing,
} from "./firewall-rules.ts";
import type { EngineOwner } from "./labels.ts";

export interface FirewallOptions {
  readonly owner: EngineOwner;
  readonly doorPort: number;
  readonly proxyPort?: number | undefined;
  readonly log: Logger;
  /** Whom workers' names are asked of; default: the host's name servers. */
  readonly nameservers?: () => Promise<readonly string[]>;
  readonly run?: RunCommand;
}

/** For the lock of iptables, which others hold for milliseconds. */
const LOCK_S = "5";

const BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables";
const RESOLVERS = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

export class Firewall {
  readonly #options: FirewallOptions;
  #known: Known | undefined;
  #open: string | undefined;
  #bridged: string | undefined;
  /** Ends with the last change that was asked for: one at a time. */
  #last: Promise<void> = Promise.resolve();

  constructor(options: FirewallOptions) {
    this.#options = options;
  }

  get weaknesses(): readonly string[] {
    return [this.#open, this.#bridged].filter((sentence) => sentence !== undefined);
  }

  /** Puts the rules in force, or back in force. One command when they are. Never rejects (F3). */
  ensure(): Promise<void> {
    return this.#next(async () => {
      this.#bridged = await unfilteredBridges();
      try {
        await this.#ensure();
        this.#open = undefined;
      } catch (thrown) {
        const { message } = asBerthError(thrown);
        const sentence = `workers can reach this host's ports and its private networks: ${message}`;
        if (this.#open !== sentence) this.#options.log.warn({}, sentence);
        this.#open = sentence;
      }
    });
  }

  /** Takes this node's rules away. Rejects with `driver.failed`; a host without iptables has none. */
  remove(): Promise<void> {
    return this.#next(() => this.#remove(this.#options.owner));
  }

  /** Takes away the rules of all nodes that a deployment ever had on this host. */
  removeDeployment(): Promise<void> {
    return this.#next(() => this.#remove({ deployment: this.#options.owner.deployment }));
  }

  async #ensure(): Promise<void> {
    const { owner, doorPort, proxyPort, nameservers = hostNameservers } = this.#options;
    const plan = { owner, doorPort, proxyPort, nameservers: await nameservers() };
    const needed = decideRestore(plan, await this.#list(), this.#known);
    if (needed === undefined) return;
    if (this.#known !== undefined) this.#options.log.warn({}, "firewall rules are put back");
    await this.#restore(needed);
    this.#known = { plan, rules: ownRules(owner, await this.#list()) };
  }

  async #remove(whose: Parameters<typeof decideRemoval>[0]): Promise<void> {
    this.#known = undefined;
    const needed = decideRemoval(whose, await this.#list().catch(nothingWithoutProgram));
    if (needed !== undefined) await this.#restore(needed);
  }

  async #list(): Promise<Listing> {
    return parseListing(await this.#run("iptables-save", []));
  }

  // F1: one transaction for each table. F2: `--noflush` leaves all chains that the script does not name.
  async #restore(script: string): Promise<void> {
    await this.#run("iptables-restore", ["-w", LOCK_S, "--noflush"], script);
  }

  async #run(program: string, args: readonly string[], input?: string): Promise<string> {
    const { run = runCommand } = this.#options;
    const end = await run(program, args, input);
    if (end.code !== 0) throw failureOf(program, end);
    return end.stdout;
  }

  #next(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => {});
    return done;
  }
}

class ProgramMissing extends BerthError {}

function nothingWithoutProgram(thrown: unknown): Listing {
  if (thrown instanceof ProgramMissing) return parseListing("");
  throw thrown;
}

/** Why, as people say it. */
function failureOf(program: string, { code, stderr }: CommandEnd): BerthError {
  if (code === null && stderr.includes("ENOENT")) {
    return new ProgramMissing("driver.failed", `${program} was not found`);
  }
  if (/permission denied|not permitted|must be root|EACCES/i.test(stderr)) {
    return new BerthError("driver.failed", "no right to set firewall rules");
  }
  const said = stderr.trim().split("\n")[0] ?? "";
  return new BerthError("driver.failed", `${program} ended with ${code ?? "no code"}: ${said}`);
}

/** The engine switches this on with its first network whose containers may not talk; someone may switch it off. */
async function unfilteredBridges(): Promise<string | undefined> {
  const setting = await readFile(BRIDGED, "utf8").catch(() => "1");
  if (setting.trim() === "1") return undefined;
  return "workers of the shared network can reach each other: net.bridge.bridge-nf-call-iptables is off";
}

/** IPv4 addresses of the name servers that an engine on this host gives its containers. */
async function hostNameservers(): Promise<readonly string[]> {
  const files = await Promise.all(RESOLVERS.map((path) => readFile(path, "utf8").catch(() => "")));
  return nameserversIn(files.join("\n"));
}

/** Without loopback: those are asked by the engine itself. */
export function nameserversIn(text: string): string[] {
  const found = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address]) => address ?? "");
  return [...new Set(found)].filter((address) => isIPv4(address) && !address.startsWith("127."));
}
