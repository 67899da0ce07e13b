import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { partitionOf } from "../../../protocols/partition.ts";
import { startNats } from "../../support/nats.ts";

const id = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?$/);

it("the server puts every actor's mail into the partition that our nodes compute", async () => {
  await using nats = await startNats();
  const nc = await connect({ servers: nats.url });
  try {
    const jsm = await jetstreamManager(nc);
    const js = jetstream(nc);
    for (const count of [1, 7, 16]) {
      const root = `try${count}`;
      await jsm.streams.add({
        name: `TRY_${count}`,
        subjects: [`${root}.>`],
        subject_transform: {
          src: `${root}.*.*.*`,
          dest: `${root}.{{partition(${count},1,2,3)}}.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}`,
        },
      });
      const refs = fc.sample(fc.record({ tenant: id, kind: id, key: id }), {
        numRuns: 60,
        seed: 7,
      });
      for (const ref of refs) {
        const path = `${ref.tenant}.${ref.kind}.${ref.key}`;
        const { seq } = await js.publish(`${root}.${path}`, "x");
        const stored = await jsm.streams.getMessage(`TRY_${count}`, { seq });
        expect(stored?.subject).toBe(`${root}.${partitionOf(ref, count)}.${path}`);
      }
    }
  } finally {
    await nc.close();
  }
});
