// Checks what would be published: just the wanted files, and types that a page's author
// can compile against.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
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
  // A program of Node's, with the WebSocket that most of them take.
  writeFileSync(
    join(folder, "program.ts"),
    `import WebSocket from "ws";
import { Client } from "imserver-client";
export const im = new Client({ url: "https://im.example.com", getToken: () => "token", WebSocket });
`,
  );
  for (const name of ["ws", "@types"]) symlinkSync(join(here, "node_modules", name), join(folder, "node_modules", name));
  const tsc = join(here, "node_modules/.bin/tsc");
  run(tsc, ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "page.ts"], folder);
  run(tsc, ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022", "--types", "node", "program.ts"], folder);
  const names = "import('imserver-client').then((all) => console.log(Object.keys(all).sort().join()))";
  assert.equal(run(process.execPath, ["--input-type=module", "-e", names], folder).trim(), "Client,Failure");
  // What is missing outside of pages is said at once: it used to look like a server that is away.
  const missing = `import { Client } from "imserver-client";
    const getToken = () => "token";
    globalThis.WebSocket = undefined;
    for (const options of [{ getToken, WebSocket: class {} }, { getToken, url: "https://im.example.com" }]) {
      try { new Client(options); } catch (why) { console.log(why.message); }
    }`;
  assert.deepEqual(run(process.execPath, ["--input-type=module", "-e", missing], folder).trim().split("\n"), [
    "outside of pages the client needs a url", "there is no WebSocket here: give the client one",
  ]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log("the package holds what it should, and a page compiles against it");
