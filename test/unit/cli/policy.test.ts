/** `berth policy`: what it says is the policy, in words. */
import { expect, test } from "vitest";
import { EXIT } from "../../../deploy/cli/exit-codes.ts";
import { parsePrincipal } from "../../../deploy/cli/policy.ts";
import { ISOLATION_POLICY } from "../../../protocols/isolation-policy.ts";
import { runBerth } from "./cli-run.ts";

const policy = (...args: string[]) => runBerth(["policy", ...args]);

test("shows every grant, and says that there are no others", async () => {
  const { out } = await policy("show");
  const lines = out.trim().split("\n");
  expect(lines).toHaveLength(ISOLATION_POLICY.length + 2);
  expect(lines.at(-1)).toBe("What no line allows is refused.");
  expect(JSON.parse((await policy("show", "--json")).out)).toEqual(ISOLATION_POLICY);
});

test("shows what the broker grants a container: its own subjects", async () => {
  const { out } = await policy("show", "--nats", "container:wrk_1@acme/ann");
  expect(JSON.parse(out).subscribe).toEqual(["berth.down.wrk_1", "_INBOX_worker.wrk_1.>"]);
});

test("explains why a user reads its own jobs and nobody else's", async () => {
  const read = async (owner: string) => {
    const { out } = await policy("explain", "user@acme/ann", owner, "--json");
    const rows = JSON.parse(out) as {
      action: string;
      name: string;
      allowed: boolean;
      by: string;
    }[];
    return rows.find(({ action, name }) => action === "read" && name === "jobs");
  };
  expect(await read("user@acme/ann")).toMatchObject({
    allowed: true,
    by: expect.stringMatching(/^user may read its user's route/),
  });
  expect(await read("user@acme/bob")).toMatchObject({ allowed: false, by: null });
  expect(await read("user@globex/ann")).toMatchObject({ allowed: false });
});

test("explains what a tenant's own containers may, and refuses the rest aloud", async () => {
  const fleet = (await policy("explain", "container:a@initech", "container:b@initech")).out;
  expect(fleet).toMatch(/^may +connect +container +container may connect its fleet's/m);
  const apart = (await policy("explain", "container@acme/ann", "container@acme/bob")).out;
  expect(apart.split("\n").filter((line) => line.startsWith("may "))).toEqual(
    apart.split("\n").filter((line) => line.startsWith("may not")),
  );
});

test("takes a principal apart, and says what is wrong with one", async () => {
  expect(parsePrincipal("container:wrk_1@acme/ann")).toEqual({
    kind: "container",
    id: "wrk_1",
    tenant: "acme",
    user: "ann",
  });
  expect(parsePrincipal("gateway")).toEqual({ kind: "gateway", id: "gateway" });
  for (const wrong of ["nobody", "user@acme/a b", "container:*@acme", "user@a/b/c"]) {
    const { code, err } = await policy("explain", wrong, "node");
    expect(code, wrong).toBe(EXIT.usage);
    expect(err).toContain(wrong);
  }
});
