/** Quantities as the cluster writes them: `250m`, `1500n`, `128Mi`. Pure. */
const FACTORS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Not a number for what is no quantity. */
export function parseQuantity(text: string): number {
  const [, digits = "", unit = ""] = /^([\d.]+(?:e\d+)?)([a-zA-Z]*)$/.exec(text) ?? [];
  return digits === "" ? Number.NaN : Number(digits) * (FACTORS[unit] ?? Number.NaN);
}
