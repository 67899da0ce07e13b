import { test } from "vitest";
import { keepPromises, SCHEDULES_WITHIN_MS } from "./schedules.ts";

test("1,500 schedules keep R1 to R8 whatever goes wrong", { timeout: SCHEDULES_WITHIN_MS }, () =>
  keepPromises(0),
);
