/** The first line that a nats-server sends to whoever connects: enough to know that it is up and which one it is. */
import { connect } from "node:net";
import { z } from "zod";

const infoSchema = z.object({ server_name: z.string(), version: z.string() });

const ANSWER_TIMEOUT_MS = 1_000;
const MAX_LINE_CHARS = 64 * 1024;

export interface ServerInfo {
  readonly serverName: string;
  readonly version: string;
}

/** Undefined when nothing listens on loopback there, or something that is no nats-server. */
export function readServerInfo(port: number): Promise<ServerInfo | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: ANSWER_TIMEOUT_MS });
    let text = "";
    const end = (info?: ServerInfo) => {
      socket.destroy();
      resolve(info);
    };
    socket.setEncoding("utf8");
    socket.on("data", (piece: string) => {
      text += piece;
      if (text.includes("\n") || text.length > MAX_LINE_CHARS) end(tryParseInfo(text));
    });
    socket.once("timeout", () => end());
    socket.once("error", () => end());
    socket.once("close", () => end());
  });
}

function tryParseInfo(text: string): ServerInfo | undefined {
  const json = /^INFO (\{.*\})\s*$/m.exec(text.split("\n")[0] ?? "")?.[1];
  if (json === undefined) return undefined;
  try {
    const info = infoSchema.parse(JSON.parse(json));
    return { serverName: info.server_name, version: info.version };
  } catch {
    return undefined;
  }
}
