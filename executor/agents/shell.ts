import { join } from "node:path";
import type { ProgramAgent } from "./agent.ts";

/**
 * Runs the prompt as a script: by `sh` as `sh -c` would, or by the interpreter that its first line names.
 * The script is a file, so that it may be larger than an argument and standard input stays free for `input`.
 */
export const shell: ProgramAgent = {
  name: "shell",
  kind: "program",
  launch({ prompt, job_id }, { tmp }) {
    const path = join(tmp, `script-${job_id}`);
    const files = [{ path, text: prompt, mode: 0o700 }];
    return prompt.startsWith("#!/")
      ? { command: path, args: [], env: {}, stdin: "open", files }
      : { command: "/bin/sh", args: [path], env: {}, stdin: "open", files };
  },
};
