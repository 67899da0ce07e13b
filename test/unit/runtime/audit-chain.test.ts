import { describe, expect, it } from "vitest";
import { type Act, type AuditEntry, systemActor } from "../../../protocols/audit.ts";
import { canonicalJson } from "../../../protocols/canonical-json.ts";
import {
  formatAnchor,
  GENESIS_HASH,
  hashEntry,
  parseAnchor,
  sealEntry,
  verifyChain,
} from "../../../runtime/audit-chain.ts";

const DAY = 86_400_000;
const START = Date.parse("2026-01-01T00:00:00Z");
const now = START + 10 * DAY;

function chainOf(length: number): AuditEntry[] {
  const chain: AuditEntry[] = [];
  for (let n = 1; n <= length; n += 1) {
    const act: Act = {
      tenant: "acme",
      actor: systemActor("test"),
      act: "key.create",
      target: `t${n}`,
      outcome: "allowed",
      detail: { n: String(n) },
    };
    const time = new Date(START + (n - 1) * DAY).toISOString();
    chain.push(sealEntry(act, { id: `aud_${n}`, time, previous: chain.at(-1) }));
  }
  return chain;
}

const chain = chainOf(8);
const verify = (entries: readonly AuditEntry[], options = {}) =>
  verifyChain(entries, { now, ...options });

describe("an audit chain", () => {
  it("as it was written is whole, and names its last entry", () => {
    const report = verify(chain);
    expect(report).toMatchObject({ entries: 8, pruned: 0, fault: undefined });
    expect(report.last).toEqual({ seq: 8, hash: chain[7]!.hash });
    expect(chain[0]!.prev_hash).toBe(GENESIS_HASH);
    expect(verify([])).toMatchObject({ entries: 0, fault: undefined, last: undefined });
  });

  it.each(Object.keys(chain[3]!).filter((field) => field !== "hash" && field !== "seq"))(
    "whose entry has another %s was changed there",
    (field) => {
      const value = (chain[3] as unknown as Record<string, unknown>)[field];
      const other = typeof value === "string" ? `${value}x` : typeof value === "number" ? 9 : "x";
      const forged = { ...chain[3]!, [field]: other };
      expect(verify(chain.with(3, forged)).fault).toMatchObject({ seq: 4, kind: "changed" });
    },
  );

  it("whose entry was changed together with its hash was changed there all the same", () => {
    const forged = { ...chain[3]!, target: "other" };
    const sealed = { ...forged, hash: hashEntry(forged) };
    expect(verify(chain.with(3, sealed)).fault).toMatchObject({ seq: 4, kind: "changed" });
  });

  it("lacks each entry that was removed, and knows each that was moved", () => {
    for (let at = 1; at < 7; at += 1) {
      expect(verify(chain.toSpliced(at, 1)).fault).toMatchObject({ seq: at + 1, kind: "removed" });
    }
    const swapped = chain.with(3, chain[4]!).with(4, chain[3]!);
    expect(verify(swapped).fault).toMatchObject({ kind: "removed", seq: 4 });
    expect(verify(chain.toSpliced(5, 0, chain[2]!)).fault).toMatchObject({
      kind: "reordered",
      seq: 3,
    });
  });

  it("may lack its beginning only as far as the retention says", () => {
    const rest = chain.slice(3);
    expect(verify(rest)).toMatchObject({ pruned: 3, fault: undefined });
    // Entry 3 is eight days old.
    expect(verify(rest, { retentionMs: 7 * DAY })).toMatchObject({ pruned: 3, fault: undefined });
    for (const retentionMs of [9 * DAY, null]) {
      expect(verify(rest, { retentionMs }).fault).toMatchObject({ seq: 3, kind: "removed" });
    }
  });

  it("that lost its end, or was made anew, shows against an anchor and not without one", () => {
    const anchor = verify(chain).last!;
    expect(verify(chain.slice(0, 6)).fault).toBeUndefined();
    expect(verify(chain.slice(0, 6), { anchors: [anchor] }).fault).toMatchObject({
      seq: 7,
      kind: "removed",
    });
    const anew: AuditEntry[] = chain.slice(0, 4);
    for (const old of chain.slice(4)) {
      const act = { ...old, act: "key.create" as const, code: undefined, target: "other" };
      const rest = { request: undefined, source: undefined };
      anew.push(
        sealEntry({ ...act, ...rest }, { id: old.id, time: old.time, previous: anew.at(-1) }),
      );
    }
    expect(verify(anew).fault).toBeUndefined();
    expect(verify(anew, { anchors: [anchor] }).fault).toMatchObject({ seq: 8, kind: "changed" });
    expect(verify(chain, { anchors: [anchor] }).fault).toBeUndefined();
    const pruned = { anchors: [{ seq: 3, hash: chain[2]!.hash }] };
    expect(verify(chain.slice(3), pruned).fault).toBeUndefined();
    const other = { anchors: [{ seq: 3, hash: chain[1]!.hash }] };
    expect(verify(chain.slice(3), other).fault).toMatchObject({ seq: 3, kind: "changed" });
  });

  it("has anchors that are written down and read back, and nothing else is one", () => {
    const anchor = verify(chain).last!;
    expect(parseAnchor(formatAnchor(anchor))).toEqual(anchor);
    for (const text of ["", "8", "0:", `-1:${anchor.hash}`, `8:${anchor.hash}0`, "8:xyz"]) {
      expect(parseAnchor(text)).toBeUndefined();
    }
  });
});

describe("canonical JSON", () => {
  it("spells equal values alike, whatever the order of their fields", () => {
    const one = { b: [1, { y: null, x: "é\u2028" }], a: undefined, c: 1.5 };
    const two = { c: 1.5, b: [1, { x: "é\u2028", y: null }] };
    expect(canonicalJson(one)).toBe(canonicalJson(two));
    expect(canonicalJson(one)).toBe('{"b":[1,{"x":"é\u2028","y":null}],"c":1.5}');
    expect(JSON.parse(canonicalJson(one))).toEqual(two);
  });
});
