import { expect, test } from "vitest";
import { brokeredAddresses } from "../../../../executor/brokered-addresses.ts";
import { agentEnvironment } from "../../../../executor/environment.ts";

const PROXY = "http://w1:secret@10.212.0.1:14223";

test("an agent finds its brokered providers at the proxy, without the worker's own token", () => {
  expect(brokeredAddresses(["claude_api", "openai"], PROXY)).toEqual({
    ANTHROPIC_BASE_URL: "http://10.212.0.1:14223/broker/anthropic",
    OPENAI_BASE_URL: "http://10.212.0.1:14223/broker/openai/v1",
  });
  expect(brokeredAddresses(undefined, undefined)).toEqual({});
});

test("a job whose key is brokered ends where no proxy could put the key in, and for a provider that has none", () => {
  const missing = expect.objectContaining({ code: "agent.credential_missing" });
  expect(() => brokeredAddresses(["openai"], undefined)).toThrow(missing);
  expect(() => brokeredAddresses(["mistral"], PROXY)).toThrow(missing);
});

test("an order cannot lead an agent past the proxy, and where there is none no variable names one", () => {
  const options = {
    inherited: { HTTPS_PROXY: "http://of.the.worker" },
    path: "/bin",
    worker: "w1",
    place: { work: "/w", home: "/h", tmp: "/t", isolated: true },
    extra: {},
    order: {
      ...{ job_id: "j", attempt: 1, tenant: "t", user: "u", session_id: "s", agent: "shell" },
      ...{ prompt: "", timeout_ms: null, env: { https_proxy: "http://elsewhere", NO_PROXY: "*" } },
    },
  };
  const env = agentEnvironment({ ...options, proxyUrl: PROXY });
  expect([env["https_proxy"], env["HTTPS_PROXY"], env["ALL_PROXY"]]).toEqual([PROXY, PROXY, PROXY]);
  expect(env["NO_PROXY"]).toBe("localhost,127.0.0.1,::1,10.212.0.1");
  expect(agentEnvironment(options)).not.toHaveProperty("HTTPS_PROXY");
});
