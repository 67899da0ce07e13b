#!/usr/bin/env node
import { existsSync } from "node:fs";

const main = new URL("../../dist/deploy/main.js", import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  process.stderr.write(
    'berth is not built yet: run "npm start" (or "npm ci && npm run build") in its folder first.\n',
  );
  process.exitCode = 1;
}
