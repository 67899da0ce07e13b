/** The last line of a test run, counted from vitest's JSON report. */
import { readJson } from "./place.mjs";

/** A file that could not be loaded counts as one failure, and so does a run that failed without a failed test. */
export function summarize(reportPath, exitCode) {
  const { passed, failed, skipped } = count(reportPath);
  const failures = failed === 0 && exitCode !== 0 ? 1 : failed;
  const more = skipped === 0 ? "" : `, ${skipped} skipped`;
  return { line: `${passed} passed, ${failures} failed${more}`, isGreen: failures === 0 };
}

function count(reportPath) {
  try {
    const report = readJson(reportPath);
    const broken = report.testResults.filter(
      ({ status, assertionResults }) =>
        status === "failed" && assertionResults.every((test) => test.status !== "failed"),
    );
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests + broken.length,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
}
