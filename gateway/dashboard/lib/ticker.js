import { h } from "./dom.js";
import { ago, countdown, duration } from "./format.js";

/** Texts that change with time alone. They carry their moment, and one timer keeps them all right. */

/** `12s ago`. */
export const since = (at) => moving("since", at);
/** `4:32` until `at`. */
export const until = (at) => moving("until", at);
/** How long it has taken since `at`. */
export const elapsed = (at) => moving("elapsed", at);

const TEXT = {
  since: (at) => ago(at),
  until: (at) => countdown(at - Date.now()),
  elapsed: (at) => duration(Math.max(0, Date.now() - at)),
};

function moving(kind, at) {
  return h(
    "time",
    {
      class: "number",
      "data-kind": kind,
      "data-at": at,
      datetime: new Date(at).toISOString(),
      title: new Date(at).toLocaleString(),
    },
    TEXT[kind](at),
  );
}

export function startTicker() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-kind]")) {
      const text = TEXT[element.dataset.kind](Number(element.dataset.at));
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1_000);
}
