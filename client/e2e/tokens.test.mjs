// Tokens end: the page asks for another, and a page with a source of them never notices.

import assert from "node:assert/strict";
import test from "node:test";
import { Tab, newContext, newPage, startBrowser } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";

const SHORT = { IMSERVER_AUTH__LEEWAY: "0s" };

test("when a pasted token ends, one signs in again and goes on", async (t) => {
  const server = await Server.start(t, SHORT);
  const browser = await startBrowser(t, server);
  const tab = await Tab.open(await newContext(browser), server, await server.token(1, "小明", "12s"), 2);
  await tab.write("in time");
  await tab.state("in time", "stored");
  await tab.field.fill("half a sen");
  await tab.page.getByText("Your sign-in has ended.").waitFor();
  assert.equal(await tab.page.evaluate(() => sessionStorage.getItem("imserver.token")), null);

  // One that has ended is of no use, and the page says so by itself.
  const ended = await server.token(1, "小明", "1s");
  const { exp } = JSON.parse(Buffer.from(ended.split(".")[1], "base64url"));
  await tab.until((end) => Date.now() > end, exp * 1000);
  await tab.page.getByLabel("Token").fill(ended);
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await tab.page.getByText("That token has ended.").waitFor();

  await tab.page.getByLabel("Token").fill(`${server.origin}/#token=${await server.token(1, "小明")}`);
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await tab.sees("in time");
  assert.equal(await tab.field.inputValue(), "half a sen");
  await tab.write("half a sentence");
  await tab.state("half a sentence", "stored");
  tab.assertClean();
});

test("an address of a conversation opens it, also by way of the sign-in", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const tab = new Tab();
  Object.assign(tab, await newPage(await newContext(browser)));
  const signIn = async (token) => {
    await tab.page.getByLabel("Token").fill(token);
    await tab.page.getByRole("button", { name: "Sign in" }).click();
  };
  // It used to be forgotten on the way.
  await tab.page.goto(`${server.origin}/#/2`);
  await signIn(await server.token(1, "小明"));
  await tab.page.getByRole("heading", { name: "User 2" }).waitFor();
  assert.equal(new URL(tab.page.url()).hash, "#/2");

  // Whoever comes next in this tab does not begin where that one was.
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  await signIn(await server.token(3, "Ada"));
  await tab.page.getByText("Choose a conversation").waitFor();
  tab.assertClean();
});

test("a link that was cut on its way says so, on both pages", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t, server);
  const { page, faults } = await newPage(await newContext(browser));
  const token = await server.token(1, "小明");
  // The page used to ask for a token as if there had been no link.
  for (const origin of [server.origin, server.adminOrigin]) {
    for (const cut of [token.slice(0, 20), token.slice(0, token.lastIndexOf(".") - 5)]) {
      await page.goto("about:blank");
      await page.goto(`${origin}/#token=${cut}&to=2`);
      await page.getByText("That link holds no whole token").waitFor();
    }
  }
  // Only the server can tell that a signature is not whole.
  await page.goto(`${server.origin}/#token=${token.slice(0, -5)}&to=2`);
  await page.getByText("The server does not take this token.").waitFor();
  // It is forgotten, so that a reload does not try it again; a whole link opens.
  await page.goto(`${server.origin}/#token=${token}&to=2`);
  await page.getByRole("heading", { name: "User 2" }).waitFor();
  assert.deepEqual(faults, []);
});

test("a page that can get tokens stays connected past the end of each", async (t) => {
  const server = await Server.start(t, SHORT);
  const browser = await startBrowser(t, server);
  const page = await (await newContext(browser)).newPage();
  let asked = 0;
  await page.exposeFunction("freshToken", () => (asked++, server.token(1, "小明", "5s")));
  await page.goto(server.origin);
  const result = await page.evaluate(async () => {
    const { Client } = await import("/client/imserver.js");
    const client = new Client({ getToken: () => window.freshToken() });
    const states = [];
    client.on("state", ({ state }) => states.push(state));
    const online = new Promise((done) => client.on("state", ({ state }) => state === "online" && done()));
    client.connect();
    await online;
    const first = (await client.me()).expiresAt;
    await new Promise((done) => setTimeout(done, first - Date.now() + 3000));
    const { messageId } = await client.send(2, "still here");
    return { states, messageId, outlived: Date.now() - first };
  });
  assert.deepEqual(result.states.filter((state) => state !== "connecting"), ["online"]);
  assert.ok(result.outlived > 0 && result.messageId, JSON.stringify(result));
  assert.ok(asked >= 2 && asked <= 6, `asked ${asked} times`);
  assert.equal(await server.connections(), 1);
});
