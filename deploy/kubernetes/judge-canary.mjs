/**
 * Whether a canary does as well as the gateways beside it, asked of Prometheus by the label `track`. Ends with 1 and a
 * sentence for each thing in which it does worse, or when nothing can be told: no traffic is no proof.
 * `node deploy/kubernetes/judge-canary.mjs http://prometheus.example.com:9090`
 */
const WINDOW = "15m";
/** Requests that it must have had within that. */
const ENOUGH = 200;
/** Worse by less than these is chance. */
const MORE_ERRORS = 0.01;
const SLOWER = 1.5;
const SLOWER_BY_S = 0.05;
const ANSWER_MS = 10_000;

const of = (track, more = "") => `{track="${track}"${more}}`;
const QUERIES = {
  requests: (track) => `sum(increase(berth_gateway_requests_total${of(track)}[${WINDOW}]))`,
  errors: (track) =>
    `(sum(increase(berth_gateway_requests_total${of(track, ',status=~"5.."')}[${WINDOW}])) or vector(0)) / sum(increase(berth_gateway_requests_total${of(track)}[${WINDOW}]))`,
  seconds: (track) =>
    `histogram_quantile(0.95, sum by (le) (rate(berth_gateway_request_seconds_bucket${of(track)}[${WINDOW}])))`,
};

const [canary, stable] = await Promise.all(["canary", "stable"].map(measure));
const faults = decideFaults(canary, stable);
process.stdout.write(`${JSON.stringify({ canary, stable })}\n`);
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function decideFaults(tried, usual) {
  if (!(tried.requests >= ENOUGH))
    return [
      `The canary had ${Math.floor(tried.requests ?? 0)} requests within ${WINDOW}: ${ENOUGH} are needed.`,
    ];
  const faults = [];
  if (!(tried.errors <= (usual.errors ?? 0) + MORE_ERRORS))
    faults.push(
      `The canary fails ${percent(tried.errors)} of its requests, the others ${percent(usual.errors ?? 0)}.`,
    );
  if (
    !(tried.seconds <= Math.max((usual.seconds ?? 0) * SLOWER, (usual.seconds ?? 0) + SLOWER_BY_S))
  )
    faults.push(
      `The canary's slow answers (p95) take ${tried.seconds} s, those of the others ${usual.seconds} s.`,
    );
  return faults;
}

function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}

async function measure(track) {
  const values = await Promise.all(
    Object.entries(QUERIES).map(async ([name, query]) => [name, await ask(query(track))]),
  );
  return Object.fromEntries(values);
}

/** Undefined where there is no value. */
async function ask(query) {
  const [, , base] = process.argv;
  if (!base) throw new Error("Which Prometheus? Give its URL.");
  const answer = await fetch(
    `${base.replace(/\/$/, "")}/api/v1/query?query=${encodeURIComponent(query)}`,
    {
      signal: AbortSignal.timeout(ANSWER_MS),
    },
  );
  if (!answer.ok) throw new Error(`Prometheus answers ${answer.status}: ${await answer.text()}`);
  const [sample] = (await answer.json()).data.result;
  const value = Number(sample?.value[1]);
  return Number.isFinite(value) ? value : undefined;
}
