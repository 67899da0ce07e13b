/**
 * The keys of this tab, in sessionStorage: gone with the tab, never in a URL that is kept.
 * `main` signs in; `console` is the user key that an operator, who belongs to no tenant, submits jobs with.
 */
const NAMES = { main: "berth.key", console: "berth.console_key" };

export function keyOf(name) {
  return sessionStorage.getItem(NAMES[name]) ?? undefined;
}

export function keepKey(name, key) {
  sessionStorage.setItem(NAMES[name], key);
}

export function forgetKeys() {
  for (const name of Object.values(NAMES)) sessionStorage.removeItem(name);
}

/** Takes `#key=...&console=...` over, as the line that `npm start` prints has it, and takes it out of the address bar. */
export function takeKeysFromAddress() {
  if (!location.hash.includes("key=")) return;
  const given = new URLSearchParams(location.hash.slice(1));
  const key = given.get("key");
  if (!key) return;
  forgetKeys();
  keepKey("main", key);
  const consoleKey = given.get("console");
  if (consoleKey) keepKey("console", consoleKey);
  history.replaceState(null, "", location.pathname + location.search);
}
