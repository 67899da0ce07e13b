/** Bugs put into a node on purpose, to see that the judges find them. Not part of the product. */
import { partitionOf } from "../../protocols/partition.ts";
import type { Transport } from "../../runtime/transport.ts";

export const PLANTS = ["no-fence"] as const;
export type Plant = (typeof PLANTS)[number];

export function planted(transport: Transport, plant: Plant | undefined): Transport {
  if (plant === undefined) return transport;
  return { ...transport, records: withoutFence(transport) };
}

/** Writes over whatever is there, as into a store without compare-and-set. */
function withoutFence({ buckets, partitions, records }: Transport): Transport["records"] {
  return {
    ...records,
    commit(ref, data) {
      const { key, kind, tenant } = ref;
      const partition = partitionOf(ref, partitions);
      return buckets.put("actors", `${partition}.${tenant}.${kind}.${key}`, data);
    },
  };
}
