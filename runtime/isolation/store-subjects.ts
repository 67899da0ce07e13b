/** Subjects of the broker's API that reading, writing, removing from and administering a stream or bucket takes. Pure. */
import { type Action, covers, type Grant, type Store } from "../../protocols/isolation.ts";
import { BUCKETS, STREAMS } from "../../protocols/subjects.ts";

const READS = [
  "$JS.API.STREAM.INFO.*",
  "$JS.API.STREAM.MSG.GET.*",
  "$JS.API.DIRECT.GET.*",
  "$JS.API.DIRECT.GET.*.>",
  "$JS.API.CONSUMER.CREATE.*",
  "$JS.API.CONSUMER.CREATE.*.>",
  "$JS.API.CONSUMER.INFO.*.*",
  "$JS.API.CONSUMER.DELETE.*.*",
  "$JS.API.CONSUMER.MSG.NEXT.*.*",
  "$JS.ACK.*.>",
  "$JS.FC.*.>",
];
const REMOVALS = ["$JS.API.STREAM.MSG.DELETE.*", "$JS.API.STREAM.PURGE.*"];
/** With what follows: all of the API, of all streams. */
const ADMINISTRATION = ["$JS.>"];

const NAMES: Record<Store, Readonly<Record<string, string>>> = {
  stream: STREAMS,
  bucket: BUCKETS,
};

/** The broker's name of a store's stream. */
export function streamName(store: Store, name: string): string {
  const found = NAMES[store][name] ?? name;
  return store === "bucket" ? `KV_${found}` : found;
}

export function storeSubjects(grant: Grant): string[] {
  const stores = grant.resources.filter((kind) => kind === "stream" || kind === "bucket");
  return stores.flatMap((store) => {
    if (grant.action === "administer") return ADMINISTRATION;
    const names = Object.keys(NAMES[store]).filter((name) => covers(grant, name));
    return names.flatMap((name) => subjectsOf(grant.action, store, name));
  });
}

/** A stream is written by publishing on its channel, which is granted as such. */
function subjectsOf(action: Action, store: Store, name: string): string[] {
  const on = (pattern: string) => pattern.replace("*", streamName(store, name));
  if (action === "read") return READS.map(on);
  if (action === "remove") return REMOVALS.map(on);
  if (action === "write" && store === "bucket") return [`$KV.${NAMES.bucket[name]}.>`];
  return [];
}
