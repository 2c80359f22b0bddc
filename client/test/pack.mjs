// Checks what would be published: just the wanted files, and types that a page's author
// can compile against.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const run = (command, args, cwd) => execFileSync(command, args, { cwd, encoding: "utf8" });

const folder = mkdtempSync(join(tmpdir(), "imserver-pack-"));
try {
  const said = run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], here);
  const [pack] = JSON.parse(said);
  assert.deepEqual(
    pack.files.map((file) => file.path).sort(),
    ["README.md", "dist/imserver.d.ts", "dist/imserver.js", "package.json"],
  );

  writeFileSync(join(folder, "package.json"), '{"private":true,"type":"module"}');
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--silent", join(folder, pack.filename)], folder);
  writeFileSync(
    join(folder, "page.ts"),
    `import { Client, Failure, type Message } from "imserver-client";
const im = new Client({ getToken: async () => "token", url: "https://im.example.com" });
const stop: () => void = im.on("message", (message: Message) => console.log(message.content));
im.connect();
im.send(2, "hello").then(({ messageId }) => console.log(messageId), (why: Failure) => why.code);
stop();
// @ts-expect-error: there is no such event
im.on("massage", () => {});
`,
  );
  const tsc = join(here, "node_modules/.bin/tsc");
  run(tsc, ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "page.ts"], folder);
  const names = "import('imserver-client').then((all) => console.log(Object.keys(all).sort().join()))";
  assert.equal(run(process.execPath, ["--input-type=module", "-e", names], folder).trim(), "Client,Failure");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log("the package holds what it should, and a page compiles against it");
