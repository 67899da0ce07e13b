export { ManualClock } from "../../runtime/testkit/manual-clock.ts";
