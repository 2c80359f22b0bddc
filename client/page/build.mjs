// Builds the pages: `node page/build.mjs [folder]`, by default into src/web/.
//
// The same sources always give the same bytes, so that a check can compare them.

import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const client = fileURLToPath(new URL("..", import.meta.url));
const folder = process.argv[2] ?? fileURLToPath(new URL("../../src/web", import.meta.url));

/** Where each page's sources are, what becomes of them, and how large it may be, gzipped. */
const pages = [
  { sources: "page", file: "chat.js", limit: 20 * 1024 },
  { sources: "admin", file: "admin/admin.js", limit: 24 * 1024 },
];

for (const { sources, file, limit } of pages) {
  await build({
    absWorkingDir: client,
    entryPoints: [`${sources}/main.tsx`],
    outfile: `${folder}/${file}`,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    jsx: "automatic",
    jsxImportSource: "preact",
    // The page uses the client as any page would: as the file that the server serves.
    alias: { "imserver-client": "/client/imserver.js" },
    external: ["/client/imserver.js"],
    legalComments: "none",
    banner: {
      js: `// Built from client/${sources} by \`npm run build:page\`: change it there.\n` +
        "// Holds Preact, (c) 2015-present Jason Miller, MIT licence: https://preactjs.com",
    },
  });
  const size = gzipSync(await readFile(`${folder}/${file}`), { level: 9 }).length;
  console.log(`${file}: ${size} bytes gzipped, of ${limit} at the most`);
  if (size > limit) process.exit(1);
}
