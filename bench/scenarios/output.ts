/**
 * How fast, and how much later, does a line that an agent prints reach a WebSocket client: through the executor, the
 * session's durable log and the gateway, beside a bare publish and a relay that keeps nothing?
 */
import { WebSocket } from "ws";
import type { DevFile } from "../../protocols/api.ts";
import { endsJob } from "../../protocols/events.ts";
import type { ClientFrame, ServerFrame } from "../../protocols/frames.ts";
import { startBerth } from "../berth.ts";
import { startChild } from "../child.ts";
import { LineCounter } from "../line-counter.ts";
import { type LineOrder, printingScript } from "../lines.ts";
import { within } from "../load.ts";
import type { Bench, Comparison, Measure, Sample, Scenario } from "../scenario.ts";

/** Lines for each millisecond that a measurement should last, about. */
const FAST_LINES_PER_MS = 40;
const MODERATE_PER_SECOND = 200;
const DELIVERY_MS = 120_000;
const OPEN_MS = 10_000;
const SLOTS = 4;

type Print = (order: LineOrder) => Promise<Sample>;

async function openSocket(bench: Bench, url: string, key?: string): Promise<WebSocket> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  bench.undo(() => Promise.resolve(socket.terminate()));
  const opened = new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  await within(OPEN_MS, `the connection to ${url}`, opened);
  return socket;
}

/** One client of the gateway that submits a job for each measurement. */
async function berthLines(bench: Bench, { keys, url }: DevFile): Promise<Print> {
  const socket = await openSocket(bench, `${url.replace("http", "ws")}/v1/stream`, keys.pro);
  const send = (frame: ClientFrame) => socket.send(JSON.stringify(frame));
  let counter: LineCounter | undefined;
  let session = "";
  socket.on("message", (data: Buffer) => {
    const frame = JSON.parse(data.toString()) as ServerFrame;
    if (frame.type === "accepted") session = frame.session_id;
    if (frame.type === "error") counter?.fail(`${frame.code}: ${frame.message}`);
    if (frame.type !== "event") return;
    const { event } = frame;
    if (event.type === "agent.output") counter?.take(linesOf(String(event.data["text"])));
    else if (endsJob(event) && event.type !== "job.succeeded") {
      counter?.fail(`${event.type}: ${JSON.stringify(event.data)}`);
    }
  });
  return async (order) => {
    counter = new LineCounter(order.lines);
    const job = { agent: "shell", prompt: printingScript(order) };
    send({ type: "submit", ref: "bench", job });
    const sample = await counter.sample(DELIVERY_MS);
    send({ type: "unsubscribe", session_id: session });
    return sample;
  };
}

function linesOf(text: string): string[] {
  const lines = text.split("\n");
  lines.pop();
  return lines;
}

async function rawLines(bench: Bench, berth: DevFile): Promise<Print> {
  const broker = { natsUrl: berth.nats_url, creds: berth.nats_creds };
  const relay = await startChild(bench, "relay", broker);
  const source = await startChild(bench, "line-source", broker);
  const socket = await openSocket(bench, (relay.ready as { readonly url: string }).url);
  let counter: LineCounter | undefined;
  socket.on("message", (data: Buffer) => counter?.take([data.toString()]));
  return async (order) => {
    counter = new LineCounter(order.lines);
    const [sample] = await Promise.all([
      counter.sample(DELIVERY_MS),
      source.ask("print", order, DELIVERY_MS),
    ]);
    return sample;
  };
}

const fast =
  (print: Print): Measure =>
  ({ ms }) =>
    print({ lines: Math.ceil(ms * FAST_LINES_PER_MS) });
const moderate =
  (print: Print): Measure =>
  ({ ms }) =>
    print({
      lines: Math.ceil((ms * MODERATE_PER_SECOND) / 1_000),
      perSecond: MODERATE_PER_SECOND,
    });

async function open(bench: Bench): Promise<readonly Comparison[]> {
  const berth = await startBerth(bench, SLOTS);
  const ours = await berthLines(bench, berth);
  // On the same broker as ours: nothing of ours runs while the peer is measured.
  const peer = await rawLines(bench, berth);
  const peerName = "NATS to a ws relay";
  return [
    {
      name: "output",
      peerName,
      ours: fast(ours),
      peer: fast(peer),
      rows: [{ label: "lines to a WebSocket", metric: "rate", goal: { atLeast: 0.8 } }],
    },
    {
      name: `output, ${MODERATE_PER_SECOND} lines/s`,
      peerName,
      ours: moderate(ours),
      peer: moderate(peer),
      rows: [
        { label: "p50", metric: "p50" },
        { label: "p99", metric: "p99", goal: { atMostAddedMs: 3 } },
      ],
    },
  ];
}

export const output: Scenario = {
  name: "output",
  question: "a line of an agent's output to a WebSocket client, beside a bare relay",
  open,
};
