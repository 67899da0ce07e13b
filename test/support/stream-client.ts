/** A WebSocket client that keeps what it gets, for tests of streams. */
import { once } from "node:events";
import { WebSocket } from "ws";
import type { SessionEvent } from "../../protocols/events.ts";
import {
  BEARER_PROTOCOL_PREFIX,
  type ServerFrame,
  STREAM_PROTOCOL,
} from "../../protocols/frames.ts";

type FrameOf<T extends ServerFrame["type"]> = Extract<ServerFrame, { type: T }>;

export interface StreamClient {
  readonly socket: WebSocket;
  readonly welcome: FrameOf<"welcome">;
  readonly events: SessionEvent[];
  readonly frames: ServerFrame[];
  /** Resolves with the close code. */
  readonly closed: Promise<number>;
  send(frame: object): void;
  raw(text: string): void;
  /** The first frame of the type that came, or comes. */
  frame<T extends ServerFrame["type"]>(type: T): Promise<FrameOf<T>>;
  /** Resolves once an event satisfies `is`; events are shown to it in order, each once, from the first. */
  until(is: (event: SessionEvent) => boolean): Promise<SessionEvent>;
  close(): void;
  /** Cuts the connection without a good-bye; nothing that comes later counts. */
  drop(): void;
}

export async function openStream(url: string, key: string): Promise<StreamClient> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream`, [
    STREAM_PROTOCOL,
    `${BEARER_PROTOCOL_PREFIX}${key}`,
  ]);
  const events: SessionEvent[] = [];
  const frames: ServerFrame[] = [];
  const checks = new Set<() => void>();
  let dropped = false;
  socket.on("message", (data: Buffer) => {
    if (dropped) return;
    const frame = JSON.parse(data.toString()) as ServerFrame;
    frames.push(frame);
    if (frame.type === "event") events.push(frame.event);
    for (const check of checks) check();
  });
  const closed = new Promise<number>((resolve) => {
    socket.on("close", resolve);
  });
  const wait = <T>(look: () => T | undefined) =>
    new Promise<T>((resolve) => {
      const check = () => {
        const found = look();
        if (found === undefined) return;
        checks.delete(check);
        resolve(found);
      };
      checks.add(check);
      check();
    });
  const frame = <T extends ServerFrame["type"]>(type: T) =>
    wait(() => frames.find((each): each is FrameOf<T> => each.type === type));
  await Promise.race([
    once(socket, "open"),
    once(socket, "error").then(([error]) => Promise.reject(error as Error)),
  ]);
  return {
    socket,
    welcome: await frame("welcome"),
    events,
    frames,
    closed,
    send: (each) => socket.send(JSON.stringify(each)),
    raw: (text) => socket.send(text),
    frame,
    until(is) {
      let at = 0;
      return wait(() => {
        while (at < events.length) {
          const event = events[at];
          at += 1;
          if (event && is(event)) return event;
        }
        return undefined;
      });
    },
    close: () => socket.close(),
    drop() {
      dropped = true;
      socket.terminate();
    },
  };
}
