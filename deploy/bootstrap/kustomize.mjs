/** kustomize for the tests of deploy/kubernetes: the one on the PATH, or the distribution's. */
import { isInstalled } from "./command.mjs";
import { ensureDebianProgram } from "./debian-program.mjs";

/** Where tests look, see test/support/kustomize.ts. */
export async function ensureKustomize() {
  await ensureDebianProgram({
    program: "kustomize",
    folder: "kustomize",
    isThere: () => isInstalled("kustomize"),
    skipped: "tests of deploy/kubernetes",
  });
}
