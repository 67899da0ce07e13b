/** One worker, with the last that it wrote; also one that has ended, as long as its host keeps its log. */
import { stepTrail, tierChip, workerChip } from "../lib/chips.js";
import { h, show } from "../lib/dom.js";
import { bytes, clock, millis, shortId } from "../lib/format.js";
import { logLines } from "../lib/log-lines.js";
import { Poller } from "../lib/poller.js";
import { since } from "../lib/ticker.js";
import { plainText } from "../lib/transcript.js";
import { cpuGauge, idle, memoryGauge, serves } from "./workers.js";

const EVERY_MS = 2_000;

export function workerView({ api, id, identity }) {
  const state = h("span", { class: "chips", role: "status" });
  const notice = h("p", { class: "notice", role: "status", hidden: true });
  const facts = h("dl", { class: "facts" });
  const log = h("div", {
    class: "log",
    role: "log",
    "aria-live": "off",
    "aria-label": `Log of ${id}`,
    tabindex: "0",
  });

  const say = (text) => {
    notice.hidden = text === "";
    notice.textContent = text;
  };

  const load = async () => {
    const path = `/v1/workers/${encodeURIComponent(id)}`;
    const [worker, kept] = await Promise.allSettled([api.get(path), api.get(`${path}/log`)]);
    const isGone = isNotFound(worker);
    const phase = isGone ? "ended" : worker.value?.phase;
    if (phase !== undefined)
      show(state, [phase, worker.value?.step], () => stateChips(phase, worker.value?.step));
    if (worker.status === "fulfilled")
      show(facts, worker.value, () => factsOf(worker.value).map(factElement));
    if (kept.status === "fulfilled") showLog(log, kept.value.log);
    say(noticeOf(worker, kept, { isGone, isOperator: identity.scope === "operator" }));
    if (isGone && (kept.status === "fulfilled" || isNotFound(kept))) poller.stop();
  };

  const poller = new Poller(load, EVERY_MS);
  const element = h(
    "div",
    { class: "stack" },
    h("p", {}, h("a", { href: "#/overview" }, "← Overview")),
    h(
      "header",
      { class: "headline" },
      h("h1", {}, "Worker"),
      h("span", { class: "mono muted" }, id),
      state,
    ),
    notice,
    h("section", { class: "panel", "aria-label": "What it does and uses" }, facts),
    h(
      "section",
      { class: "panel", "aria-labelledby": "log-title" },
      h("header", {}, h("h2", { id: "log-title" }, "Log")),
      log,
    ),
  );
  return { element, close: () => poller.stop() };
}

const isNotFound = ({ reason, status }) => status === "rejected" && reason.status === 404;

function noticeOf(worker, kept, { isGone, isOperator }) {
  if (isGone && isNotFound(kept))
    return isOperator
      ? "No such worker is known, and no host has kept its log."
      : "It has ended, or it is another tenant's: only operators read its log.";
  if (isGone) return "It has ended: this is the last that was seen of it, and that it wrote.";
  const failed = [worker, kept].find((each) => each.status === "rejected" && !isNotFound(each));
  if (failed) return `Not up to date: ${failed.reason.message} Trying again.`;
  const { unanswered } = worker.value;
  return unanswered.length === 0
    ? ""
    : `No answer from ${unanswered.join(", ")}: what it uses is not known.`;
}

const stateChips = (phase, step) => [workerChip(phase), step ? stepTrail(step) : ""];

function factsOf(worker) {
  const { created_at, driver, host, image, internet, jobs, network, processes } = worker;
  return [
    ["Serves", h("span", {}, serves(worker), " ", tierChip(worker.tier))],
    ["CPU", cpuGauge(worker)],
    ["Memory", memoryGauge(worker)],
    ["Processes", `${processes ?? "–"} / ${worker.processes_limit}`],
    ["Jobs", jobs.length === 0 ? `none, ${worker.slots} slots` : jobs.map(jobElement)],
    ["Idle", idle(worker)],
    ["Host", host === null ? "none yet" : `${host}, driver ${driver}`],
    ["Image", image ?? "none"],
    ["Workspace", `${worker.workspace}, at most ${bytes(worker.storage_limit_bytes)}`],
    ["Network", `${network}, ${internet ? "with" : "without"} internet`],
    ["Created", since(millis(created_at))],
  ];
}

const jobElement = (id) => h("span", { class: "mono", title: id }, `${shortId(id)} `);

const factElement = ([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function showLog(element, text) {
  const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 30;
  show(element, text, () =>
    text === ""
      ? h("span", { class: "waiting" }, "It has written nothing.")
      : logLines(text).map(lineElement),
  );
  if (atEnd) element.scrollTop = element.scrollHeight;
}

const lineElement = ({ rest, text, time, tone }) =>
  h(
    "div",
    { "data-tone": tone },
    time ? h("span", { class: "dim" }, `${clock(time)}  `) : "",
    plainText(text),
    rest ? h("span", { class: "dim" }, `  ${plainText(rest)}`) : "",
  );
