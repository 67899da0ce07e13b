import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAIL_LANES } from "../../../protocols/protocol.ts";
import {
  parseMailSubject,
  refOfSubject,
  subjects,
  workerOfUp,
} from "../../../protocols/subjects.ts";

const id = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9_-]{0,8}[A-Za-z0-9])?$/);
const ref = fc.record({ tenant: id, kind: id, key: id });
const partition = fc.nat(1_000);

describe("subjects", () => {
  it("an actor is read back from every subject that names it", () => {
    fc.assert(
      fc.property(ref, partition, id, (actor, p, worker) => {
        for (const subject of [
          subjects.ask(p, actor),
          subjects.record(p, actor),
          subjects.journal(p, actor),
          subjects.live(actor),
          subjects.due(actor),
          subjects.up(worker, p, actor),
        ]) {
          expect(refOfSubject(subject)).toEqual(actor);
        }
        expect(workerOfUp(subjects.up(worker, p, actor))).toBe(worker);
      }),
    );
  });

  it("mail in its stream, behind the partition, gives back actor and lane", () => {
    fc.assert(
      fc.property(ref, partition, fc.constantFrom(...MAIL_LANES), (actor, p, lane) => {
        const stored = subjects.mail(actor, lane).replace("berth.mail.", `berth.mail.${p}.`);
        expect(parseMailSubject(stored)).toEqual({ ref: actor, lane });
      }),
    );
  });

  it("two actors never share a subject", () => {
    fc.assert(
      fc.property(ref, ref, (a, b) => {
        const isSame = a.tenant === b.tenant && a.kind === b.kind && a.key === b.key;
        expect(subjects.mail(a, "user") === subjects.mail(b, "user")).toBe(isSame);
      }),
    );
  });

  it("a worker's uplink starts with its own id, in front of anything it can choose", () => {
    expect(subjects.up("wrk_A", 3, { tenant: "t", kind: "session", key: "k" })).toMatch(
      /^berth\.up\.wrk_A\./,
    );
  });
});
