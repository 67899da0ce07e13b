/** Owns a nats-server until it is killed; says so in one line of JSON. Run by the tether's tests. */
import { NatsServer } from "../../../deploy/nats/server.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";

const [binary = "", dataDir = "", port = ""] = process.argv.slice(2);
try {
  const server = await NatsServer.start(
    { clock: systemClock, logger: silentLogger },
    { binary, dataDir, port: Number(port) },
  );
  process.stdout.write(`${JSON.stringify({ pid: server.pid, version: server.version })}\n`);
} catch (thrown) {
  process.stdout.write(`${JSON.stringify({ code: (thrown as { code?: string }).code })}\n`);
}
