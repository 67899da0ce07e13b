/** Prometheus' rule files, as far as they are written here: one field per line, each expression on its own. */

export interface Rule {
  /** Of the alert, or of what is recorded. */
  readonly name: string;
  readonly isAlert: boolean;
  readonly expr: string;
  /** Every field of it that has a value, by its key. */
  readonly fields: ReadonlyMap<string, string>;
}

/** Throws when a rule has no expression on the line of its `expr`. */
export function rulesIn(text: string): Rule[] {
  const rules = text.split(/^\s*- (?=alert:|record:)/m).slice(1);
  return rules.map((rule) => {
    const fields = new Map(
      [...rule.matchAll(/^\s*(\w+): (.+)$/gm)].map(([, key = "", value = ""]) => [
        key,
        value.replaceAll(/^"|"$/g, ""),
      ]),
    );
    const isAlert = fields.has("alert");
    const name = fields.get(isAlert ? "alert" : "record") ?? "";
    const expr = fields.get("expr");
    if (expr === undefined) throw new Error(`${name} has no expression`);
    return { name, isAlert, expr, fields };
  });
}

/**
 * The rules with every `for` sixty times shorter: nobody waits ten minutes for a test. Expressions stay as they are. Throws when
 * there is no `for` of whole minutes, or another one: it would be shortened by nobody, and the test would wait in vain.
 */
export function withShortWaits(text: string): string {
  const short = text.replaceAll(/^( +for: \d+)m$/gm, "$1s");
  const left = short.match(/^ +for: (?!\d+s$).*$/m);
  if (short === text || left) throw new Error(`no wait to shorten: ${left?.[0] ?? "none"}`);
  return short;
}

export interface MetricUse {
  readonly name: string;
  /** That it is selected or grouped by, in the same expression. */
  readonly labels: readonly string[];
}

const WORD = /[a-zA-Z_][\w:]*/g;
const GROUPING = /\b(?:by|on|without|ignoring)\s*\(([^)]*)\)/g;

/** Metrics, recorded ones too, that an expression reads, each with the labels in its braces and those it is grouped by. */
export function metricsIn(expr: string): MetricUse[] {
  const grouped = [...expr.matchAll(GROUPING)].flatMap(([, list = ""]) => wordsIn(list));
  const bare = expr.replaceAll(GROUPING, "").replaceAll(/"(?:[^"\\]|\\.)*"|\[[^\]]*\]/g, '""');
  return [...bare.matchAll(/([a-zA-Z_][\w:]*)\s*(?:\{([^}]*)\})?/g)]
    .filter(([, name = ""]) => name.includes("_") || name.includes(":") || name === "up")
    .filter(([, name = ""]) => !FUNCTIONS.has(name) && !name.startsWith("__"))
    .map(([, name = "", selector = ""]) => ({ name, labels: [...wordsIn(selector), ...grouped] }));
}

const FUNCTIONS = new Set(["histogram_quantile"]);
const wordsIn = (text: string) => text.match(WORD) ?? [];
