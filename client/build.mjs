// Builds the client: `node build.mjs [folder]`, by default into dist/.
//
// The same sources always give the same bytes, so that a check can compare them.

import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** What a page may be asked to load, gzipped. */
const LIMIT = 12 * 1024;

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = process.argv[2] ?? `${here}dist`;

await mkdir(folder, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  outfile: `${folder}/imserver.js`,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: "// imserver's client, MIT OR Apache-2.0. Built from client/src: change it there." },
});

// types.ts is the whole interface but for the two values that a page imports.
const types = await readFile(`${here}src/types.ts`, "utf8");
await writeFile(
  `${folder}/imserver.d.ts`,
  `${types}
export declare class Failure extends Error {
  code: string;
}
export type Client = ClientInterface;
export declare const Client: new (options: ClientOptions) => Client;
`,
);

const size = gzipSync(await readFile(`${folder}/imserver.js`), { level: 9 }).length;
console.log(`imserver.js: ${size} bytes gzipped, of ${LIMIT} at the most`);
if (size > LIMIT) process.exit(1);
