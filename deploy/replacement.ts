import { BerthError } from "../protocols/errors.ts";

/** Turns the word that another process has taken this node's id into an end of this one. */
export function replacement(): {
  readonly failed: Promise<BerthError>;
  readonly report: () => void;
} {
  let report: () => void = () => undefined;
  const failed = new Promise<BerthError>((resolve) => {
    report = () =>
      resolve(
        new BerthError(
          "lease.lost",
          "another process runs under this node's id, so this one stops; give each its own BERTH_NODE_ID",
        ),
      );
  });
  return { failed, report };
}
