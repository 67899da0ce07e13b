/** What a node exports of itself at every sweep. */
import type { EffectRunner } from "./effects.ts";
import type { Metrics } from "./metrics.ts";
import type { NodeBounds } from "./node-bounds.ts";
import type { Outbox } from "./outbox.ts";
import type { PartitionHost } from "./partition-host.ts";

/** Looks at every activation, so it is called once a second and not more. */
export function exportGauges(
  metrics: Metrics,
  node: {
    readonly hosts: Iterable<PartitionHost>;
    readonly effects: EffectRunner;
    readonly outbox: Outbox;
    readonly bounds: NodeBounds;
  },
): void {
  let partitions = 0;
  let activations = 0;
  let waiting = 0;
  let sequences = 0;
  let deepest = 0;
  for (const host of node.hosts) {
    partitions += 1;
    activations += host.size;
    const { mail } = host;
    waiting += mail.bodies + mail.sequences;
    sequences += mail.sequences;
    for (const activation of host.activations) deepest = Math.max(deepest, activation.waiting);
  }
  metrics.gauge("berth_partitions_held", partitions);
  metrics.gauge("berth_activations", activations);
  metrics.gauge("berth_mailbox_depth", waiting);
  metrics.gauge("berth_mailbox_depth_max", deepest);
  metrics.gauge("berth_mailbox_sequences", sequences);
  metrics.gauge("berth_mailbox_bytes", node.bounds.bodies.used);
  metrics.gauge("berth_lobby_waiting", node.bounds.lobby.waiting);
  metrics.gauge("berth_effects_running", node.effects.running);
  metrics.gauge("berth_outbox_backlog", node.outbox.backlog);
}
