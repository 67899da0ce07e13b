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
