/** What a host beyond a test's own network serves: HTTP on any of its addresses, and a name server. Ends with its input. */
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";

const [port = "", address = "", nameserver = ""] = process.argv.slice(2);
const HEADER_BYTES = 12;
const TYPE_A = 1;

/** Every name has the one address, and no other record. */
function answerTo(query: Buffer): Buffer {
  let end = HEADER_BYTES;
  while (query.readUInt8(end) !== 0) end += query.readUInt8(end) + 1;
  const isAddress = query.readUInt16BE(end + 1) === TYPE_A;
  const question = query.subarray(HEADER_BYTES, end + 5);
  const header = Buffer.from(query.subarray(0, HEADER_BYTES));
  header.writeUInt16BE(0x81_80, 2);
  header.writeUInt16BE(isAddress ? 1 : 0, 6);
  header.writeUInt32BE(0, 8);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
  const parts = isAddress ? [record, Buffer.from(address.split(".").map(Number))] : [];
  return Buffer.concat([header, question, ...parts]);
}

function nameIn(query: Buffer): string {
  const labels: string[] = [];
  for (let at = HEADER_BYTES; query.readUInt8(at) !== 0; at += query.readUInt8(at) + 1)
    labels.push(query.subarray(at + 1, at + 1 + query.readUInt8(at)).toString());
  return labels.join(".");
}

const names = createSocket("udp4");
names.on("message", (query, { port: from, address: to }) => {
  process.stdout.write(`asked ${nameIn(query)}\n`);
  names.send(answerTo(query), from, to);
});
// At its own address: what answers from all would answer from another.
names.bind(53, nameserver);
// Over TCP no question is answered: that one was asked is all that is told.
createTcpServer((socket) => {
  process.stdout.write("asked over tcp\n");
  socket.on("error", () => {}).end();
}).listen(53, nameserver);
createServer((_, response) => response.end("outside")).listen(Number(port), "0.0.0.0", () => {
  process.stdout.write("ready\n");
});
process.stdin.on("end", () => process.exit(0)).resume();
