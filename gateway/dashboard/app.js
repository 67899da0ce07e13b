/** Signs in, keeps the connections, and shows the page that the address names. */
import { connect } from "./lib/connection.js";
import { announce } from "./lib/dom.js";
import { forgetKeys, keepKey, keyOf, takeKeysFromAddress } from "./lib/keys.js";
import { SeenWorkers } from "./lib/seen-workers.js";
import { startTicker } from "./lib/ticker.js";
import { ConsoleView } from "./views/console.js";
import { consoleKeyView, operatorSessionView } from "./views/guest-console.js";
import { overviewView } from "./views/overview.js";
import { signInView } from "./views/sign-in.js";
import { TopBar } from "./views/top-bar.js";
import { workerView } from "./views/worker.js";

const main = document.getElementById("main");
const top = document.getElementById("top");

/** Of the one who is signed in; `visitor` is the user that an operator uses the console as. */
let connection;
let visitor;
/** Of this sign-in: what somebody else may not see. */
let seen;
let bar;
let view;

function show(next) {
  view?.close?.();
  view = next;
  main.replaceChildren(next.element);
}

function showSignIn(reason) {
  top.replaceChildren();
  show({ element: signInView(signIn, reason) });
  document.getElementById("api-key").focus();
}

async function signIn(key) {
  connection = await connect(key);
  seen = new SeenWorkers();
  keepKey("main", key);
  const consoleKey = keyOf("console");
  if (connection.identity.scope === "operator" && consoleKey) {
    visitor = await connect(consoleKey).catch(() => undefined);
  }
  bar = new TopBar({ identity: connection.identity, signOut: () => signOut() });
  top.replaceChildren(bar.element);
  bar.status(connection.stream.status);
  connection.stream.addEventListener("status", ({ detail }) => {
    if (detail === "refused") signOut("The gateway ended this session: sign in again.");
    else bar.status(detail);
  });
  route();
}

function signOut(reason) {
  forgetKeys();
  connection?.close();
  visitor?.close();
  connection = undefined;
  visitor = undefined;
  history.replaceState(null, "", location.pathname);
  showSignIn(reason);
}

function route() {
  if (connection === undefined) return;
  const [, page = "overview", ...rest] = location.hash.split("/");
  if (page === "session" && rest.length === 2) showForeignSession(rest);
  else if (page === "session" || page === "console") showConsole(rest[0]);
  else if (page === "worker" && rest[0]) showWorker(rest[0]);
  else showOverview();
}

function showOverview() {
  bar.page("overview");
  show(overviewView({ ...connection, announce, seen }));
}

function showForeignSession([tenant, sessionId]) {
  bar.page("overview");
  show(operatorSessionView({ connection, tenant, sessionId }));
}

function showWorker(id) {
  bar.page("overview");
  show(workerView({ ...connection, id }));
}

function showConsole(sessionId) {
  bar.page("console");
  const own = connection.identity.tenant === null ? visitor : connection;
  if (own === undefined) show({ element: consoleKeyView(useConsoleKey) });
  else if (view instanceof ConsoleView) view.choose(sessionId);
  else show(new ConsoleView({ connection: own, sessionId }));
}

async function useConsoleKey(key) {
  visitor = await connect(key);
  if (visitor.identity.tenant === null) {
    visitor.close();
    visitor = undefined;
    throw new Error("That is an operator's key too. The console needs a user's.");
  }
  keepKey("console", key);
  route();
}

async function start() {
  takeKeysFromAddress();
  startTicker();
  addEventListener("hashchange", () => {
    if (!location.hash.includes("key=")) return route();
    takeKeysFromAddress();
    return location.reload();
  });
  const key = keyOf("main");
  if (key === undefined) return showSignIn();
  return signIn(key).catch((error) => showSignIn(error.message));
}

await start();
