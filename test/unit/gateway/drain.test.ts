import { describe, expect, it } from "vitest";
import { prometheusMetrics } from "../../../deploy/metrics.ts";
import { Drain, type OpenStream } from "../../../gateway/drain.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { valuesIn } from "../../support/metrics-text.ts";

describe("open streams", () => {
  it("are counted by transport while they are open, once each, however often they are closed", async () => {
    const metrics = prometheusMetrics();
    const drain = new Drain(new ManualClock(), metrics);
    const open = (transport: OpenStream["transport"]) =>
      drain.add({ transport, restart: () => Promise.resolve() });
    const gauge = async () =>
      Object.fromEntries(valuesIn(await metrics.text(), "berth_gateway_streams"));
    const close = [open("sse"), open("websocket"), open("websocket")];
    expect(await gauge()).toEqual({ '{transport="sse"}': 1, '{transport="websocket"}': 2 });
    close[1]?.();
    close[1]?.();
    expect(await gauge()).toEqual({ '{transport="sse"}': 1, '{transport="websocket"}': 1 });
    close[0]?.();
    close[2]?.();
    expect(await gauge()).toEqual({ '{transport="sse"}': 0, '{transport="websocket"}': 0 });
    expect(drain.streams).toBe(0);
  });
});
