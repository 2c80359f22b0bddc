// Builds the page: `node page/build.mjs [folder]`, by default into src/web/.
//
// The same sources always give the same bytes, so that a check can compare them.

import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const folder = process.argv[2] ?? fileURLToPath(new URL("../../src/web", import.meta.url));

await build({
  absWorkingDir: here,
  entryPoints: ["main.tsx"],
  outfile: `${folder}/chat.js`,
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
    js: "// Built from client/page by `npm run build:page`: change it there.\n" +
      "// Holds Preact, (c) 2015-present Jason Miller, MIT licence: https://preactjs.com",
  },
});
