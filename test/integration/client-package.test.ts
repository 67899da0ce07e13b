/** The client as its users have it: built, imported by the package's name, in a program of their own. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { startBerth } from "../support/berth.ts";
import { ROOT } from "../support/source.ts";

const PROGRAM = `
  import { BerthClient, BerthError } from "berth/client";
  const berth = new BerthClient({ url: process.env.BERTH_URL, key: process.env.BERTH_KEY });
  const types = [];
  let text = "";
  for await (const event of berth.run({ agent: "shell", prompt: "echo built; echo done" })) {
    types.push(event.type);
    if (event.type === "agent.output") text += event.data.text;
  }
  const [newest] = (await berth.jobs({ limit: 1 })).data;
  const refusal = await berth.job("job_01J00000000000000000000000").catch((error) => error);
  const code = refusal instanceof BerthError ? refusal.code : "none";
  console.log(JSON.stringify({ text, last: types.at(-1), state: newest.state, code }));
`;

it("berth/client runs a job from plain JavaScript, and its errors are BerthErrors", async () => {
  await using berth = await startBerth();
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--eval", PROGRAM],
    { cwd: ROOT, env: { BERTH_URL: berth.url, BERTH_KEY: berth.keys.pro }, timeout: 30_000 },
  );
  expect(JSON.parse(stdout)).toEqual({
    text: "built\ndone\n",
    last: "job.succeeded",
    state: "succeeded",
    code: "job.not_found",
  });
});
