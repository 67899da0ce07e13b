import { describe, expect, it } from "vitest";
import {
  decideMirror,
  formatSource,
  parseDeb822,
  parseOneLine,
} from "../../../deploy/nats/apt-sources.ts";
import { decideSuite } from "../../../deploy/nats/debian-package.ts";

const DEBIAN = `Types: deb
# a comment between fields
URIs: http://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.example.org/debian-security
Suites: bookworm-security
Components: main
`;

describe("apt's source lists", () => {
  it("a .sources file is read stanza by stanza, comments left out", () => {
    expect(parseDeb822(DEBIAN)).toEqual([
      {
        uris: ["http://deb.example.org/debian"],
        suites: ["bookworm", "bookworm-updates"],
        components: ["main"],
        signedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
      },
      {
        uris: ["http://deb.example.org/debian-security"],
        suites: ["bookworm-security"],
        components: ["main"],
        signedBy: undefined,
      },
    ]);
  });

  it("stanzas that are disabled, or of source packages alone, are not sources", () => {
    const off = DEBIAN.replaceAll("Types: deb", "Enabled: no\nTypes: deb");
    const source = DEBIAN.replaceAll("Types: deb", "Types: deb-src");
    expect(parseDeb822(off)).toEqual([]);
    expect(parseDeb822(source)).toEqual([]);
  });

  it("a key inside a stanza survives to the list that we write", () => {
    const key = `Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----`;
    const [source] = parseDeb822(
      `Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\n${key}\n`,
    );
    const written = formatSource(source!, "sid", "main");
    expect(written).toContain(" .\n mQINBF\n");
    expect(parseDeb822(written)[0]?.signedBy).toBe(source!.signedBy);
  });

  it("a .list file is read line by line, with and without options", () => {
    const text = `# deb http://off.example.org/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://a.example.org/debian bookworm main contrib # why
deb-src http://a.example.org/debian bookworm main
deb http://b.example.org/ubuntu/ noble universe`;
    expect(parseOneLine(text)).toEqual([
      {
        uris: ["http://a.example.org/debian"],
        suites: ["bookworm"],
        components: ["main", "contrib"],
        signedBy: "/k.gpg",
      },
      {
        uris: ["http://b.example.org/ubuntu/"],
        suites: ["noble"],
        components: ["universe"],
        signedBy: undefined,
      },
    ]);
  });
});

describe("the mirror", () => {
  const other = parseOneLine("deb http://packages.example.com/apt stable main")[0]!;
  const security = parseDeb822(DEBIAN)[1]!;
  const debian = parseDeb822(DEBIAN)[0]!;

  it("is the one that carries the release, not a vendor's list in front of it", () => {
    expect(decideMirror([other, security, debian], "bookworm")).toBe(debian);
  });

  it("is the first with a main component when the release names no codename", () => {
    expect(decideMirror([{ ...other, components: ["tools"] }, debian], undefined)).toBe(debian);
    expect(decideMirror([], "bookworm")).toBeUndefined();
  });

  it("has the newest suite of its own distribution", () => {
    const ubuntu = { ...debian, uris: ["http://ports.example.com/ubuntu-ports/"] };
    expect(decideSuite(debian)).toEqual({ suite: "sid", component: "main" });
    expect(decideSuite(ubuntu)).toEqual({ suite: "devel", component: "universe" });
  });
});
