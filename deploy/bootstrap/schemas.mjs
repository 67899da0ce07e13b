/** Schemas of Kubernetes, of what is often installed on it, and of GitHub's workflows, for the tests of deploy/kubernetes and .github alone. */
import { ensureExtraPackages } from "./extra-packages.mjs";

/** Where tests look, see test/support/schemas.ts. */
const FOLDER = "schemas";

export const ensureSchemas = () =>
  ensureExtraPackages({
    list: "./schemas.json",
    folder: FOLDER,
    what: "schemas of Kubernetes and of workflows for their tests",
    size: "60 MB",
    without: "The schemas could not be installed: tests of deploy/kubernetes are skipped.",
  });
