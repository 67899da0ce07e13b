import type { Server } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import { QuorumWatch } from "../../../runtime/nats/quorum-watch.ts";
import { ServerChoice } from "../../../runtime/nats/server-choice.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function rig() {
  const clock = new ManualClock();
  let left = 0;
  const watch = new QuorumWatch({
    clock,
    leave: () => {
      left += 1;
    },
  });
  const ask = async (seconds: number, what: () => void) => {
    for (let second = 0; second < seconds; second += 1) {
      what();
      await clock.advance(1_000);
    }
  };
  return { watch, clock, ask, left: () => left };
}

describe("a server that answers nothing", () => {
  test("is left after six seconds of asking in vain, and not sooner (Q1)", async () => {
    const { watch, ask, left } = rig();
    await ask(6, () => watch.unanswered("write"));
    expect(left()).toBe(0);
    watch.unanswered("write");
    expect(left()).toBe(1);
    await ask(6, () => watch.unanswered("write"));
    expect(left()).toBe(1);
    watch.unanswered("write");
    expect(left()).toBe(2);
  });

  test("is kept when anything of that kind is answered; another kind's answers say nothing (Q1)", async () => {
    const { watch, ask, left } = rig();
    await ask(4, () => watch.unanswered("write"));
    watch.answered("write");
    await ask(5, () => watch.unanswered("write"));
    expect(left()).toBe(0);
    await ask(2, () => {
      watch.answered("ask");
      watch.unanswered("write");
    });
    expect(left()).toBe(1);
  });

  test("is kept after two failures with a long pause between, and over a reconnection", async () => {
    const { watch, clock, ask, left } = rig();
    watch.unanswered("ask");
    await clock.advance(60_000);
    watch.unanswered("ask");
    expect(left()).toBe(0);
    await ask(5, () => watch.unanswered("ask"));
    watch.disconnected();
    await ask(2, () => watch.unanswered("ask"));
    expect(left()).toBe(0);
  });
});

describe("the next server", () => {
  const server = (listen: string, lastConnect: number) => ({ listen, lastConnect }) as Server;
  const connection = (present: string, known: string[]) => {
    const pools: string[][] = [known];
    const nc = {
      getServer: () => present,
      getServers: () => pools.at(-1)!.map((listen) => ({ listen })),
      setServers: (hosts: string[]) => void pools.push(hosts),
    } as unknown as Parameters<ServerChoice["connected"]>[0];
    return { nc, pools };
  };

  test("is another than the one that was lost, the longest untried; then the client's own choice", () => {
    const choice = new ServerChoice(["a:1", "b:2", "c:3"]);
    const pool = [server("a:1", 30), server("b:2", 20), server("c:3", 10)];
    expect(choice.next(pool)).toBeNull();
    choice.connected(connection("a:1", ["a:1"]).nc);
    expect(choice.next(pool)?.listen).toBe("c:3");
    expect(choice.next(pool)).toBeNull();
  });

  test("is the same one when there is no other", () => {
    const choice = new ServerChoice(["a:1"]);
    choice.connected(connection("a:1", ["a:1"]).nc);
    expect(choice.next([server("a:1", 1)])).toBeNull();
  });

  test("may be one that was away at the first connection", () => {
    const choice = new ServerChoice(["a:1", "b:2"]);
    const { nc, pools } = connection("b:2", ["b:2", "told:9"]);
    choice.complete(nc);
    expect(pools.at(-1)).toEqual(["b:2", "told:9", "a:1"]);
  });
});
