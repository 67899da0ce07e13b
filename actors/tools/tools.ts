/** All tools that the actors execute, for a node to run. */
import type { Tools } from "../../runtime/tools.ts";
import { sessionTools } from "./session-tools.ts";
import { supervisorTools } from "./supervisor-tools.ts";
import { tenantUsersTool } from "./tenant-users.ts";
import type { ToolOptions } from "./tool-options.ts";

export function actorTools(options: ToolOptions): Tools {
  return { ...supervisorTools(options), ...sessionTools(options), ...tenantUsersTool(options) };
}
