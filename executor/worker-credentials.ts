/** The port by which a host renews and ends what its workers connect with. */
import type { BrokerCredential, WorkerSpec } from "../protocols/executor.ts";
import type { WorkerWord } from "./host-wire.ts";

/** Credentials of single workers, where the broker knows them. What fails, it tells people itself: nobody else does. */
export interface WorkerCredentials {
  /** The next one of a worker of ours, when it is time for it. */
  renew(spec: WorkerSpec, word: WorkerWord): Promise<BrokerCredential> | undefined;
  /** The next one of another host's worker, when it is high time and that host is away. */
  rescue(worker: string, word: WorkerWord): Promise<BrokerCredential | undefined> | undefined;
  /** The worker has ended: what it connected with counts no more. */
  revoke(spec: WorkerSpec): void;
}
