import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { choosePort } from "../../../deploy/ports.ts";

const host = "127.0.0.1";

async function occupied() {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

describe("choosePort", () => {
  it("a free port is taken as it was wished, without a word", async () => {
    const lines: string[] = [];
    const port = await choosePort({ name: "gateway", host, port: 0, isExplicit: false });
    const again = await choosePort({ name: "gateway", host, port, isExplicit: true }, (line) =>
      lines.push(line),
    );
    expect(again).toBe(port);
    expect(lines).toEqual([]);
  });

  it("a preferred port that is taken moves, and says where", async () => {
    await using other = await occupied();
    const lines: string[] = [];
    const port = await choosePort(
      { name: "gateway", host, port: other.port, isExplicit: false },
      (line) => lines.push(line),
    );
    expect(port).not.toBe(other.port);
    expect(lines).toEqual([`port ${other.port} is taken: gateway moves to ${port}`]);
  });

  it("a port that was asked for is not replaced", async () => {
    await using other = await occupied();
    await expect(
      choosePort({ name: "gateway", host, port: other.port, isExplicit: true }),
    ).rejects.toMatchObject({
      code: "setup.port_taken",
      field: "gateway",
      message: expect.stringContaining(String(other.port)),
    });
  });

  it("an address that is not this machine's has no free port", async () => {
    await expect(
      choosePort({ name: "gateway", host: "192.0.2.1", port: 0, isExplicit: false }),
    ).rejects.toMatchObject({ code: "setup.port_taken" });
  });
});
