/** A transport's buckets, of which a test has put other methods in the place of some. */
import type { Buckets } from "../../runtime/transport.ts";

export function changedBuckets(buckets: Buckets, others: Partial<Buckets>): Buckets {
  return {
    get: (...args) => buckets.get(...args),
    put: (...args) => buckets.put(...args),
    remove: (...args) => buckets.remove(...args),
    list: (...args) => buckets.list(...args),
    keys: (...args) => buckets.keys(...args),
    watch: (...args) => buckets.watch(...args),
    ...others,
  };
}
