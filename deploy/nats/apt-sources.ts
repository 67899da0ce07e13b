/** Reads apt's own source lists, in both of their formats, to learn which mirror this machine uses. */

export interface AptSource {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** Path of the keyring, or the key itself (lines after the first are indented, as apt writes them). */
  readonly signedBy: string | undefined;
}

/** A `.sources` file: stanzas of `Field: value`, continued on indented lines. Disabled stanzas are left out. */
export function parseDeb822(text: string): AptSource[] {
  return text
    .split(/\n\s*\n/)
    .map(stanzaFields)
    .filter((fields) => isEnabledBinarySource(fields))
    .map((fields) => ({
      uris: words(fields.get("uris")),
      suites: words(fields.get("suites")),
      components: words(fields.get("components")),
      signedBy: fields.get("signed-by"),
    }));
}

function isEnabledBinarySource(fields: ReadonlyMap<string, string>): boolean {
  const isOff = /^(no|false|0|off|without|disable)$/i.test(fields.get("enabled") ?? "yes");
  return !isOff && words(fields.get("types")).includes("deb");
}

function stanzaFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#")) continue;
    const field = /^([A-Za-z][\w-]*):[ \t]*(.*)$/.exec(line);
    if (field) {
      last = (field[1] ?? "").toLowerCase();
      fields.set(last, (field[2] ?? "").trim());
    } else if (/^\s+\S/.test(line) && last !== "") {
      fields.set(last, `${fields.get(last) ?? ""}\n${line}`);
    }
  }
  return fields;
}

/** A `.list` file: `deb [options] uri suite component...` on each line. */
export function parseOneLine(text: string): AptSource[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) return [];
    const signedBy = /(?:^|\s)signed-by=(\S+)/.exec(match[1] ?? "")?.[1];
    return [
      {
        uris: words(match[2]),
        suites: words(match[3]),
        components: words(match[4]),
        signedBy,
      },
    ];
  });
}

/** The source of the distribution itself: the one that carries its release `codename`, else the first with a main component. */
export function decideMirror(
  sources: readonly AptSource[],
  codename: string | undefined,
): AptSource | undefined {
  const main = sources.filter((source) => source.components.includes("main"));
  return (
    main.find((source) => codename !== undefined && source.suites.includes(codename)) ?? main[0]
  );
}

/** A source list of one suite on the mirror of `source`, in deb822. */
export function formatSource(source: AptSource, suite: string, component: string): string {
  const lines = [
    "Types: deb",
    `URIs: ${source.uris.join(" ")}`,
    `Suites: ${suite}`,
    `Components: ${component}`,
    ...(source.signedBy === undefined ? [] : [`Signed-By: ${source.signedBy}`]),
  ];
  return `${lines.join("\n")}\n`;
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}
