/** The values of a metric in what `/metrics` serves, by its labels as they stand there: `{tier="pro"}`. */
export function valuesIn(text: string, name: string): Map<string, number> {
  const lines = text.split("\n").filter((line) => new RegExp(`^${name}(\\{|\\s)`).test(line));
  return new Map(
    lines.map((line): [string, number] => {
      const at = line.lastIndexOf(" ");
      return [line.slice(name.length, at), Number(line.slice(at + 1))];
    }),
  );
}
