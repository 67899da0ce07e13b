/** A name server on loopback that gives one address for every name, and remembers what it was asked. */
import { createSocket } from "node:dgram";
import { once } from "node:events";

export interface NameServer extends AsyncDisposable {
  /** As BERTH_EGRESS_DNS takes it. */
  readonly address: string;
  readonly asked: string[];
}

const HEADER_BYTES = 12;
const TYPE_A = 1;

export async function startNameServer(answer: string): Promise<NameServer> {
  const asked: string[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (query, { port, address }) => {
    const labels: string[] = [];
    let at = HEADER_BYTES;
    for (; query.readUInt8(at) !== 0; at += query.readUInt8(at) + 1)
      labels.push(query.subarray(at + 1, at + 1 + query.readUInt8(at)).toString());
    asked.push(labels.join("."));
    const isAddress = query.readUInt16BE(at + 1) === TYPE_A;
    const head = Buffer.from(query.subarray(0, at + 5));
    head.writeUInt16BE(0x81_80, 2);
    head.writeUInt16BE(isAddress ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    const body = isAddress ? [record, Buffer.from(answer.split(".").map(Number))] : [];
    socket.send(Buffer.concat([head, ...body]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, "close");
    },
  };
}
