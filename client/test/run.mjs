// Runs the tests: `npm test`, or `npm test -- sender link` for some of them.
//
// They are bundled first, because Node reads no TypeScript; failures are shown in its lines, and
// once more at the end.

import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = fileURLToPath(new URL("../.build/test/", import.meta.url));
const wanted = process.argv.slice(2);

const names = (await readdir(here))
  .filter((name) => name.endsWith(".test.ts"))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.startsWith(part)));
if (names.length === 0) {
  console.error(`no test is called ${wanted.join(" or ")}`);
  process.exit(2);
}

await rm(out, { recursive: true, force: true });
await build({
  entryPoints: names.map((name) => here + name),
  outdir: out,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  sourcemap: "inline",
  logLevel: "warning",
});

process.env.IMSERVER_BIN ??= fileURLToPath(new URL("../../target/debug/imserver", import.meta.url));
const files = names.map((name) => out + name.replace(/\.ts$/, ".mjs"));
const options = ["--enable-source-maps", "--test", "--test-reporter=spec", "--test-timeout=600000"];
const { status } = spawnSync(process.execPath, [...options, ...files], { stdio: "inherit" });
process.exit(status ?? 1);
