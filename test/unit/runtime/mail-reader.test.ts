/** D1 of reading held mail again, against copies of a stream that lag behind its leader (R2, R4). */
import type { DirectBatchLimits, JetStreamManager, StoredMsg } from "@nats-io/jetstream";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../../runtime/clock.ts";
import { InFlight } from "../../../runtime/nats/in-flight.ts";
import { readMail } from "../../../runtime/nats/mail-reader.ts";
import type { Sender } from "../../../runtime/nats/sender.ts";

const REF = { kind: "probe", tenant: "acme", key: "a" };

function stored(seq: number, before: number): StoredMsg {
  const body = { id: `${seq}`, type: "hear", payload: {}, sentAt: 1 };
  return {
    seq,
    data: new TextEncoder().encode(JSON.stringify(body)),
    time: new Date(1),
    header: { get: () => String(before) },
  } as unknown as StoredMsg;
}

/** `copy` is what any copy shows, `leader` what the leader has; `lost` is dropped from batches on the way. */
function read(
  at: { readonly copy: number[]; readonly leader: number[]; readonly lost?: number },
  seqs: number[],
) {
  const jsm = {
    direct: {
      async getBatch(
        _stream: string,
        { seq: from, batch, callback }: DirectBatchLimits & { readonly seq: number },
      ) {
        const all = at.copy.filter((seq) => seq >= from).slice(0, batch);
        const made = all.map((seq, i) => stored(seq, all[i - 1] ?? 0));
        for (const message of made) if (message.seq !== at.lost) callback(null, message);
        callback({}, {} as StoredMsg);
        return { stop: () => {} };
      },
    },
    streams: {
      async getMessage(_stream: string, query: { seq: number }) {
        const found = at.leader.find((seq) => seq >= query.seq);
        return found === undefined ? null : stored(found, 0);
      },
    },
  } as unknown as JetStreamManager;
  const direct = { jsm, inFlight: new InFlight(), clock: systemClock };
  const parts = { ...direct, sender: {} as Sender, partitions: 4 };
  return readMail(parts, REF, "user", seqs).then(({ found, gone }) => ({
    found: found.map(({ seq }) => seq),
    gone,
  }));
}

describe("held mail", () => {
  test("is read from any copy, past what others hold between", async () => {
    const copy = [1, 2, 3, 4, 5, 6, 7, 8];
    expect(await read({ copy, leader: [] }, [2, 4, 7])).toEqual({ found: [2, 4, 7], gone: [] });
  });

  test("that a copy does not have yet is asked of the leader (R2)", async () => {
    const at = { copy: [1, 2], leader: [1, 2, 3, 4] };
    expect(await read(at, [1, 2, 3, 4])).toEqual({ found: [1, 2, 3, 4], gone: [] });
  });

  test("is gone when a later one shows it, and not told of when none does (D1)", async () => {
    expect(await read({ copy: [1, 4], leader: [1, 4] }, [1, 2, 4])).toEqual({
      found: [1, 4],
      gone: [2],
    });
    expect(await read({ copy: [1], leader: [1] }, [1, 2, 3])).toEqual({ found: [1], gone: [] });
    expect(await read({ copy: [], leader: [] }, [1, 2])).toEqual({ found: [], gone: [] });
  });

  test("is read anew when part of a batch was lost on the way, rather than taken for gone (R2)", async () => {
    const at = { copy: [1, 2, 3], leader: [1, 2, 3], lost: 2 };
    await expect(read(at, [1, 2, 3])).rejects.toMatchObject({ code: "broker.unavailable" });
  });
});
