import type { Command } from "commander";
import {
  action,
  type CliContext,
  type ConnectionOptions,
  connect,
  gatewayCommand,
} from "./context.ts";
import {
  checkAgents,
  checkDevFile,
  checkDisk,
  checkGateway,
  checkNatsServer,
  checkNode,
  type Finding,
} from "./doctor-checks.ts";
import { EXIT } from "./exit-codes.ts";
import { oneLine, type Terminal, type Tone } from "./terminal.ts";

const TONES: Readonly<Record<Finding["status"], Tone>> = {
  ok: "green",
  warn: "yellow",
  fail: "red",
};

export function doctorCommand(context: CliContext): Command {
  return gatewayCommand("doctor", "check this machine and the gateway, and say what to do").action(
    action(context, async (options: ConnectionOptions) => {
      const { cwd, terminal } = context;
      const findings = await Promise.all([
        Promise.resolve(checkNode(process.version)),
        checkNatsServer(cwd),
        checkDevFile(cwd),
        checkGateway(() => connect(context, options, "pro")),
        checkDisk(cwd),
        checkAgents(cwd),
      ]).then((found) => found.flat());
      await terminal.out(
        options.json === true
          ? `${JSON.stringify(findings)}\n`
          : findings.map((finding) => describe(finding, terminal)).join(""),
      );
      return findings.some(({ status }) => status === "fail") ? EXIT.jobFailed : EXIT.ok;
    }),
  );
}

function describe(
  { check, status, detail, remedy }: Finding,
  terminal: Pick<Terminal, "paint">,
): string {
  const line = `${terminal.paint(TONES[status], status.padEnd(4))}  ${check.padEnd(13)}${oneLine(detail)}\n`;
  return remedy === undefined
    ? line
    : `${line}      ${" ".repeat(13)}${terminal.paint("dim", `-> ${remedy}`)}\n`;
}
