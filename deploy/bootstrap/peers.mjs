/** Servers that the benchmarks measure Berth against and that come from npm. */
import { ensureExtraPackages } from "./extra-packages.mjs";

export const ensurePeers = () =>
  ensureExtraPackages({
    list: "./peers.json",
    folder: "peers",
    what: "the benchmarks' peers, Restate and workerd",
    size: "380 MB",
    without: "The benchmarks' peers could not be installed: their columns stay empty.",
  });
