/** Labels of everything that a driver makes, whatever it makes it in: whose it is, and for whom. */
export const LABEL_NAMES = {
  deployment: "berth.deployment",
  node: "berth.node",
  part: "berth.part",
  tenant: "berth.tenant",
  user: "berth.user",
  tier: "berth.tier",
  agent: "berth.agent",
  /** The worker's id: each start has a new one. */
  incarnation: "berth.incarnation",
  /** Of a workspace, and of what mounts one: its key. */
  workspace: "berth.workspace",
} as const;
