/** One concrete subject for each resource of the isolation policy, to try for real. */
import type { Channel, Resource } from "../../protocols/isolation.ts";
import { inboxPrefix } from "../../runtime/isolation/nats-permissions.ts";

const CONCRETE: Record<Channel, (resource: Resource) => string> = {
  uplink: ({ owner }) => `berth.up.${owner.id}.3.acme.session.ses_1`,
  hello: ({ owner }) => `berth.hello.${owner.id}`,
  beat: ({ owner }) => `berth.beat.${owner.id}`,
  downlink: ({ owner }) => `berth.down.${owner.id}`,
  inbox: ({ owner }) => `${inboxPrefix(owner)}.abc.1`,
  mail: () => "berth.mail.acme.session.ses_1.user",
  asks: () => "berth.ask.3.acme.session.ses_1",
  journal: () => "berth.journal.3.acme.session.ses_1",
  live: () => "berth.live.acme.session.ses_1",
  reminders: () => "berth.remind.acme.session.ses_1.tick",
  deadLetters: () => "berth.dead.acme.session.ses_1",
  drivers: () => "berth.driver.n1.start",
  nodes: () => "berth.node.n1.drain",
  audit: () => "berth.audit.acme",
  vault: () => "berth.vault.put",
  accounts: () => "berth.accounts.put",
  services: () => "$SRV.PING",
  brokerInfo: () => "$JS.API.INFO",
  system: () => "$SYS.REQ.SERVER.PING",
};

export function subjectOf(resource: Resource): string {
  return CONCRETE[resource.kind as Channel](resource);
}
