// What the documents show works as it stands there, in a page of another origin.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import test from "node:test";
import { newContext, newPage, startBrowser } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

/** What the examples take for given, and the page that they stand in. */
const SURROUNDINGS = `<!doctype html><title>an example</title>
<input id="text" value="from the page"><button id="button">Send</button><b id="badge"></b>
<script>
  window.seen = [];
  window.states = [];
  window.sent = [];
  const show = (...what) => seen.push(what.at(-1).content ?? what.at(-1));
  const banner = (state) => states.push(state);
  const markSent = (messageId) => sent.push(messageId);
  const markAsSent = ({ messageId }) => sent.push(messageId);
  const [text, button, badge] = ["text", "button", "badge"].map((id) => document.getElementById(id));
</script>`;

/** By the user who opens it. */
const EXAMPLES = { 11: "README.md", 12: "client/README.md" };

test("the examples of both READMEs work, in pages with TLS and without", async (t) => {
  const server = await Server.start(t);
  const pages = http.createServer(async (request, response) => {
    const [, user, asked] = request.url.split("/");
    response.setHeader("content-type", asked === "" ? "text/html" : "text/plain");
    if (request.url === "/im-token") {
      const [, signedIn] = new URL(request.headers.referer).pathname.split("/");
      return response.end(await server.token(signedIn));
    }
    if (asked !== "") return response.writeHead(404).end();
    const readme = await readFile(new URL(`../../${EXAMPLES[user]}`, import.meta.url), "utf8");
    const [, example] = /```html\n(<script[^]*?)```/.exec(readme);
    response.end(SURROUNDINGS + example.replaceAll("https://im.example.com", server.origin));
  }).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => pages.close());
  const { port } = pages.address();
  // To browsers the first is as good as one with TLS, the second is not.
  const origins = [`http://localhost:${port}`, `http://app.example:${port}`];
  await server.kill();
  server.env.IMSERVER_SERVER__ORIGINS = origins.join(",");
  await server.up();
  const browser = await startBrowser(t, server, "--host-resolver-rules=MAP app.example 127.0.0.1");
  for (const [user, file] of Object.entries(EXAMPLES)) {
    for (const origin of origins) {
      await t.test(`${file} at ${new URL(origin).hostname}`, async () => {
        const context = await newContext(browser);
        const { page, faults } = await newPage(context);
        const content = `hello ${origin}`;
        await server.api(await server.token(2), "POST", "messages", { toId: Number(user), content });
        await page.goto(`${origin}/${user}/`);
        assert.equal(await page.evaluate(() => isSecureContext), origin === origins[0]);
        await page.waitForFunction((content) => window.seen.includes(content), content);
        if (file === "README.md") {
          await page.waitForFunction(() => document.getElementById("badge").textContent !== "");
          await page.getByRole("button").click();
        }
        await page.waitForFunction(() => window.sent.length === 1);
        assert.deepEqual(faults, []);
        await context.close();
      });
    }
  }
});
