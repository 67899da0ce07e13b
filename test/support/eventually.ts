export { eventually } from "../../runtime/testkit/eventually.ts";
