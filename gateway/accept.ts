/** Which of the two ways to give events a request prefers (RFC 9110, section 12.5.1). Pure. */
const STREAM = "text/event-stream";
const JSON_TYPE = "application/json";

/** A stream only for those who name it: `*` means the page that everybody can read. */
export function prefersStream(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  const weights = weightsOf(accept);
  const stream = weights.get(STREAM) ?? 0;
  const json = weights.get(JSON_TYPE) ?? weights.get("application/*") ?? weights.get("*/*") ?? 0;
  return stream > 0 && stream >= json;
}

function weightsOf(accept: string): ReadonlyMap<string, number> {
  const weights = new Map<string, number>();
  for (const range of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim());
    const given = parameters.find((parameter) => parameter.startsWith("q="));
    const weight = given === undefined ? 1 : Number(given.slice("q=".length));
    weights.set(type, Number.isFinite(weight) ? weight : 0);
  }
  return weights;
}
