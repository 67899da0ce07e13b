/** What a worker said last before it ended, as its supervisor and its jobs are told of it. Pure. */

const MAX_UNITS = 300;

/** Of a log of `lineLogger` the last line's sentence and its reason; of anything else its last line. */
export function lastWord(log: string): string {
  const line = log.trim().split("\n").at(-1) ?? "";
  return (sentenceIn(line) ?? line).slice(0, MAX_UNITS);
}

function sentenceIn(line: string): string | undefined {
  try {
    const { error, msg, reason } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    if (typeof msg !== "string") return undefined;
    const why = reason ?? error;
    return typeof why === "string" ? `${msg}: ${why}` : msg;
  } catch {
    return undefined;
  }
}
