/** The agents' real command line tools, installed for the tests alone: they are large, and `npm start` needs none. */
import { join } from "node:path";
import { ensureExtraPackages, extraFolder } from "./extra-packages.mjs";

const FOLDER = "agents";

/** To be put in front of the PATH. */
export const AGENTS_PATH = join(extraFolder(FOLDER), "node_modules", ".bin");

/** Without them their tests skip themselves, loudly. */
export const ensureAgents = () =>
  ensureExtraPackages({
    list: "./agents.json",
    folder: FOLDER,
    what: "the agents' command line tools for their tests",
    size: "640 MB",
    without: "The agents' command line tools could not be installed: their tests are skipped.",
  });
