import { describe, expect, test } from "vitest";
import { decideFraming } from "../../../../executor/egress/decide-framing.ts";

describe("the end of a request's body", () => {
  test("is told onward as it was told", () => {
    expect(decideFraming({})).toEqual({});
    expect(decideFraming({ "content-length": "4" })).toEqual({ "content-length": "4" });
    expect(decideFraming({ "transfer-encoding": "Chunked" })).toEqual({
      "transfer-encoding": "chunked",
    });
  });

  test("is refused where there are two, or another coding than chunks", () => {
    for (const coding of ["chunked", "gzip, chunked", "chunked, chunked", "identity"])
      expect(decideFraming({ "content-length": "4", "transfer-encoding": coding })).toBeUndefined();
    expect(decideFraming({ "transfer-encoding": "gzip, chunked" })).toBeUndefined();
  });
});
