import { describe, expect, it } from "vitest";
import {
  type Api,
  ApiRefusal,
  CONFLICT,
  FORBIDDEN,
} from "../../../../executor/drivers/kubernetes/api.ts";
import { Resources } from "../../../../executor/drivers/kubernetes/resources.ts";

const taken = new ApiRefusal(CONFLICT, 'pods "a" already exists', "AlreadyExists");
const quotaChanged = new ApiRefusal(
  CONFLICT,
  'Operation cannot be fulfilled on resourcequotas "q": the object has been modified',
  "Conflict",
);
const usedUp = new ApiRefusal(FORBIDDEN, 'pods "a" is forbidden: exceeded quota: q', "Forbidden");

/** An API that refuses one request after the other, each for the next of these, and then takes what comes. */
function refusing(...refusals: ApiRefusal[]) {
  let asked = 0;
  const answer = () => {
    asked += 1;
    const refusal = refusals.shift();
    return refusal ? Promise.reject(refusal) : Promise.resolve({ made: true });
  };
  const api = { json: answer, call: answer } as unknown as Pick<Api, "call" | "json">;
  return { resources: new Resources(api, "/pods"), asked: () => asked };
}

describe("an object that is made", () => {
  it("is not there when its name is taken, and nobody asks again", async () => {
    const { asked, resources } = refusing(taken);
    expect(await resources.create({})).toBeUndefined();
    expect(asked()).toBe(1);
  });

  it("is asked for again when others changed a quota at that moment: its name is not taken", async () => {
    const { resources } = refusing(quotaChanged, quotaChanged);
    expect(await resources.create({})).toEqual({ made: true });
    const often = refusing(...Array.from({ length: 20 }, () => quotaChanged));
    await expect(often.resources.create({})).rejects.toBe(quotaChanged);
    expect(often.asked()).toBe(5);
  });

  it("has no room when a quota is used up", async () => {
    const { asked, resources } = refusing(usedUp);
    await expect(resources.create({})).rejects.toMatchObject({ code: "capacity.exhausted" });
    expect(asked()).toBe(1);
  });
});
