/** The side of the child: says when it is up, answers commands, and ends when the channel to its parent does. */
export interface Command {
  readonly command: string;
}

export type ChildMessage =
  | { readonly type: "ready" }
  | { readonly type: "progress"; readonly value: unknown }
  | { readonly type: "done"; readonly value: unknown }
  | { readonly type: "failed"; readonly value: string };

/** What the parent gave. */
export function config(): unknown {
  // A terminal's Ctrl-C reaches us too; the parent stops us in its order.
  process.on("SIGINT", () => {});
  process.once("disconnect", () => process.exit(0));
  return JSON.parse(process.argv[2] ?? "{}") as unknown;
}

export function say(message: ChildMessage): void {
  if (process.connected) process.send?.(message);
}

export function onCommand(commands: Readonly<Record<string, () => Promise<unknown>>>): void {
  process.on("message", ({ command }: Command) => {
    const run = commands[command];
    if (!run) return say({ type: "failed", value: `there is no command ${command}` });
    run().then(
      (value) => say({ type: "done", value: value ?? null }),
      (thrown: unknown) => say({ type: "failed", value: String(thrown) }),
    );
  });
}
