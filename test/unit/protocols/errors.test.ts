import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  asBerthError,
  BerthError,
  ERROR_TABLE,
  type ErrorCode,
  errorFromWire,
  isErrorCode,
} from "../../../protocols/errors.ts";
import { ROOT } from "../../support/source.ts";

const CODES = Object.keys(ERROR_TABLE) as ErrorCode[];

interface DocumentedRow {
  readonly code: string;
  readonly status: string;
  readonly retry: string;
  readonly meaning: string;
  readonly remedy: string;
}

function documentedRows(): DocumentedRow[] {
  return readFileSync(join(ROOT, "docs/errors.md"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => {
      const [, code = "", status = "", retry = "", meaning = "", remedy = ""] = line
        .split(" | ")
        .flatMap((cell, i) => (i === 0 ? ["", cell] : [cell]))
        .map((cell) => cell.replace(/^\| |\s\|$/g, ""));
      return { code: code.replaceAll("`", ""), status, retry, meaning, remedy };
    });
}

describe("docs/errors.md", () => {
  const rows = documentedRows();

  it("lists every code once and no other", () => {
    expect(rows.map(({ code }) => code).toSorted()).toEqual(CODES.toSorted());
  });

  it.each(rows)("says of $code what the table says, and what to do", (row) => {
    const { status, retry, title } = ERROR_TABLE[row.code as ErrorCode];
    expect([row.status, row.retry, row.meaning]).toEqual([String(status), retry, title]);
    expect(row.remedy.length).toBeGreaterThan(10);
  });
});

describe("the error table", () => {
  it("has codes of one area and one reason, with a status that HTTP knows as a failure", () => {
    for (const [code, { status, title }] of Object.entries(ERROR_TABLE)) {
      expect(code).toMatch(/^[a-z]+\.[a-z_]+$/);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(600);
      expect(title).toMatch(/^[A-Z].*[^.]$/);
    }
  });
});

describe("errors on the wire", () => {
  it("come back as they went, for every code and with every optional field", () => {
    const wire = fc.record(
      {
        code: fc.constantFrom(...CODES),
        message: fc.string(),
        field: fc.string(),
        retryAfterMs: fc.nat(),
      },
      { requiredKeys: ["code", "message"] },
    );
    fc.assert(
      fc.property(wire, (sent) => {
        const received = errorFromWire(sent);
        expect(received.toWire()).toEqual(sent);
        expect(received.status).toBe(ERROR_TABLE[sent.code].status);
        expect(received.retry).toBe(ERROR_TABLE[sent.code].retry);
      }),
    );
  });

  it("carry neither stack nor cause", () => {
    const error = new BerthError("driver.failed", "no disk", { cause: new Error("secret") });
    expect(JSON.stringify(error.toWire())).toBe('{"code":"driver.failed","message":"no disk"}');
  });

  it("of a newer build are read as unexpected, with their message kept", () => {
    const wire = { code: "moon.eclipsed" as ErrorCode, message: "it is dark" };
    expect(errorFromWire(wire)).toMatchObject({
      code: "internal.unexpected",
      message: "it is dark",
    });
  });

  it("take no inherited property for a code", () => {
    for (const name of ["toString", "constructor", "__proto__", "", 7, null]) {
      expect(isErrorCode(name)).toBe(false);
    }
  });
});

describe("a foreign error", () => {
  it("becomes ours with its cause kept, and ours stays itself", () => {
    const foreign = new TypeError("x is not a function");
    expect(asBerthError(foreign)).toMatchObject({ code: "internal.unexpected", cause: foreign });
    expect(asBerthError("a string", "driver.failed")).toMatchObject({
      code: "driver.failed",
      message: "a string",
    });
    const own = new BerthError("lease.lost");
    expect(asBerthError(own, "driver.failed")).toBe(own);
    expect(own.message).toBe(ERROR_TABLE["lease.lost"].title);
  });
});
