// The administrators' page in the hands of somebody who takes time, on a network that does too.

import assert from "node:assert/strict";
import test from "node:test";
import { AdminTab, begin, claims } from "./support/admin.mjs";
import { newContext } from "./support/browser.mjs";

test("what one is about outlives every drawing, a look at another section, and an answer", async (t) => {
  const { server, context } = await begin(t);
  const tab = await AdminTab.open(context, server, await server.adminToken());
  const plot = tab.plot("Connections");
  await plot.getByText("As a table").click();
  const row = await plot.locator("tbody tr").first().elementHandle();
  const selected = () => tab.page.evaluate(() => getSelection().toString());
  await row.evaluate((row) => getSelection().selectAllChildren(row));
  const before = await selected();
  assert.match(before, /:\d\d\s+0/);
  await tab.goesOn();
  assert.equal(await selected(), before);

  await tab.go("Notify");
  const [users, message] = [tab.page.getByLabel("Users", { exact: true }), tab.page.getByLabel("Message")];
  await users.fill("5, 6");
  await tab.page.getByLabel("all known users").check();
  await tab.page.getByLabel("these users").check();
  assert.equal(await users.inputValue(), "5, 6");
  await message.fill("the first");
  await tab.go("Connections");
  await tab.go("Notify");
  assert.deepEqual([await users.inputValue(), await message.inputValue()], ["5, 6", "the first"]);
  const stored = await tab.holdBack("**/admin/notifications");
  await tab.page.getByRole("button", { name: "Send to 2 users" }).click();
  await message.fill("the second");
  await tab.go("Overview");
  stored();
  await tab.go("Notify");
  await tab.status("Stored for 2 users.");
  assert.equal(await message.inputValue(), "the second");

  await tab.go("Revocations");
  const user = tab.card("Keep a user out").getByLabel("User");
  const disabled = await tab.holdBack("**/admin/users/8/disable");
  await user.fill("8");
  await tab.page.getByRole("button", { name: "Disable" }).click();
  await tab.confirm();
  await user.fill("9");
  disabled();
  await tab.status("User 8 is let in no more.");
  assert.equal(await user.inputValue(), "9");
  tab.assertClean();
});

test("what is being written outlives the token, for the same administrator alone", async (t) => {
  const { server, context } = await begin(t);
  const first = await server.adminToken();
  const tab = await AdminTab.open(context, server, first);
  const message = tab.page.getByLabel("Message");
  const enter = async (token) => {
    await tab.page.locator("#token").fill(token);
    await tab.page.getByRole("button", { name: "Sign in" }).click();
    return message.inputValue();
  };
  await tab.go("Notify");
  await tab.page.getByLabel("Users", { exact: true }).fill("5");
  await message.fill("half a sen");
  await server.administer(await server.adminToken(), "POST", "revocations", { token: first });
  await tab.status("takes your token no more");
  assert.equal(await enter(await server.adminToken()), "half a sen");
  assert.equal(await tab.page.getByLabel("Users", { exact: true }).inputValue(), "5");

  const another = () => server.adminToken(10);
  await tab.page.evaluate((token) => { location.hash = `#token=${token}`; }, await another());
  await tab.page.getByText("User 10").waitFor();
  await tab.go("Notify");
  assert.equal(await message.inputValue(), "");
  await message.fill("another's");
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  assert.equal(await enter(await another()), "", "who signs out is done");
  tab.assertClean();
});

test("a token that is issued meanwhile waits until it is seen, and not longer", async (t) => {
  const { server, context } = await begin(t);
  const first = await server.adminToken();
  const tab = await AdminTab.open(context, server, first);
  const form = tab.card("Issue a token");
  const made = tab.page.getByLabel("The new token");
  const news = tab.page.getByRole("navigation").getByText("1 new");
  await tab.page.evaluate(() => {
    const ask = fetch;
    window.fetch = async (url, options) => {
      const answer = await ask(url, options);
      if (options.method === "POST") await new Promise((letGo) => { window.letGo = letGo; });
      return answer;
    };
  });
  /** Issues one; the answer comes when what this gives is called. */
  const issue = async (user) => {
    await tab.go("Tokens");
    await form.getByLabel("User", { exact: true }).fill(user);
    await tab.page.evaluate(() => { window.letGo = null; });
    await form.getByRole("button", { name: "Issue" }).click();
    await tab.page.waitForFunction(() => window.letGo);
    return () => tab.page.evaluate(() => window.letGo());
  };
  // It used to be gone with the section, and stood in the ledger alone.
  let answer = await issue("5");
  await tab.go("Overview");
  await answer();
  await news.waitFor();
  await tab.go("Tokens");
  await tab.status("A token for user 5");
  assert.equal(claims(await made.inputValue()).sub, "5");
  await news.waitFor({ state: "detached" });
  await tab.go("Overview");
  await tab.goesOn();
  await tab.go("Tokens");
  assert.equal(await made.count(), 0);
  assert.equal(await tab.page.getByRole("status").filter({ hasText: "A token for" }).count(), 0);

  // Nor does it go with the administrator's own token.
  answer = await issue("6");
  await server.administer(await server.adminToken(), "POST", "revocations", { token: first });
  await tab.status("takes your token no more");
  await answer();
  await tab.page.evaluate(() => { location.hash = "#/overview"; });
  await tab.signIn(await server.adminToken());
  await news.waitFor();
  await tab.go("Tokens");
  await tab.status("A token for user 6");
  assert.equal(claims(await made.inputValue()).sub, "6");
  tab.assertClean();
});

test("the page of a token that lives for long ends with it, and not before", async (t) => {
  const { server, context } = await begin(t, { IMSERVER_AUTH__MAX_LIFETIME: "60d" });
  const DAY = 24 * 60 * 60 * 1000;
  const token = await server.adminToken(9, "60d");
  await context.clock.install();
  const tab = await AdminTab.open(context, server, token);
  await context.clock.fastForward(59 * DAY);
  await tab.goesOn();
  await tab.page.getByText("User 9").waitFor();
  await context.clock.fastForward(DAY);
  await tab.status("Your token has ended.");
  tab.assertClean();
});

test("an answer that comes late is taken for nothing else", async (t) => {
  const { server, context } = await begin(t);
  const [five, six] = [await server.token(5), await server.token(6)];
  const sockets = [await server.socket(five), await server.socket(six), await server.socket(six)];
  const tab = await AdminTab.open(context, server, await server.adminToken());
  await tab.go("Connections");
  await tab.page.getByText("3 of 3.").waitFor();
  const show = async (user) => {
    await tab.page.getByRole("textbox", { name: "Of user" }).fill(user);
    await tab.page.getByRole("button", { name: "Show" }).click();
  };
  const ofSix = await tab.holdBack("**/admin/connections?limit=200&user=6");
  await show("6");
  // Nothing is known of them yet, so nothing is said or offered.
  await tab.page.getByText("Loading …").waitFor();
  assert.equal(await tab.page.getByRole("button", { name: "Close all" }).count(), 0);
  await show("5");
  await tab.page.getByText("1 of 1.").waitFor();
  const late = tab.page.waitForResponse("**/admin/connections?limit=200&user=6");
  ofSix();
  await late;
  await tab.goesOn();
  await tab.page.getByText("1 of 1.").waitFor();
  assert.equal(await tab.row(claims(five).jti).count(), 1);

  // The first token was revoked; the answer that says so comes when there is a second.
  const first = await server.adminToken(10);
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  await tab.page.goto(`${server.adminOrigin}/#token=${first}`);
  await tab.page.locator(".plots").waitFor();
  const refusal = await tab.holdBack("**/admin/connections?limit=200");
  await server.administer(await server.adminToken(), "POST", "revocations", { token: first });
  await tab.page.evaluate(() => { location.hash = "#/connections"; });
  await tab.status("takes your token no more");
  await tab.page.locator("#token").fill(await server.adminToken(11));
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await tab.page.getByText("User 11").waitFor();
  const answer = tab.page.waitForResponse((answer) => answer.url().endsWith("limit=200") && answer.status() === 401);
  refusal();
  await answer;
  await tab.goesOn();
  await tab.page.getByText("User 11").waitFor();

  // Of two that are pasted one after the other the second one counts.
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  const enter = async (token) => {
    await tab.page.locator("#token").fill(token);
    await tab.page.getByRole("button", { name: "Sign in" }).click();
  };
  const checked = await tab.holdBack("**/admin/status");
  const asked = tab.page.waitForRequest("**/admin/status");
  await enter(await server.adminToken(12));
  const slow = await asked;
  await tab.page.unroute("**/admin/status");
  await enter(await server.adminToken(13));
  await tab.page.getByText("User 13").waitFor();
  checked();
  await slow.response();
  await tab.goesOn();
  await tab.page.getByText("User 13").waitFor();
  tab.assertClean();
  for (const { end } of sockets) end();
});

test("the second half of a double click is no press on what came under it", async (t) => {
  const { server, context } = await begin(t);
  const admin = await server.adminToken();
  for (const user of [7, 8]) await server.administer(admin, "POST", `users/${user}/disable`);
  const tab = await AdminTab.open(context, server, admin);
  const second = async () => {
    await tab.page.mouse.down({ clickCount: 2 });
    await tab.page.mouse.up({ clickCount: 2 });
  };
  await tab.go("Revocations");
  await tab.row("user 7").getByRole("button", { name: "Enable" }).click();
  await tab.row("user 7").waitFor({ state: "detached" });
  const enabling = [];
  tab.page.on("request", (request) => request.url().endsWith("/enable") && enabling.push(request.url()));
  await second();
  await tab.goesOn();
  assert.deepEqual(enabling, [], "the row below is where the first one was");

  await tab.go("Tokens");
  await tab.row(claims(admin).jti).getByRole("button", { name: "Revoke" }).click();
  const yes = tab.page.locator("dialog .primary");
  const { x, y } = await yes.boundingBox();
  await tab.page.mouse.move(x + 5, y + 5);
  await second();
  await tab.goesOn();
  await yes.waitFor();

  // Nor does a question outlive the section that it was asked in.
  await tab.page.goBack();
  await tab.page.locator("dialog").waitFor({ state: "detached" });
  await tab.goesOn();
  tab.assertClean();
});

test("what came of a press is seen, however far down the row is", async (t) => {
  const { server, context } = await begin(t);
  const admin = await server.adminToken();
  for (let user = 1; user <= 30; user++) await server.administer(admin, "POST", "tokens", { sub: user, ttl: 600 });
  const tab = await AdminTab.open(context, server, admin);
  await tab.go("Tokens");
  const form = tab.card("Issue a token");
  await form.getByLabel("User", { exact: true }).fill("5");
  await form.getByRole("button", { name: "Issue" }).click();
  // Without TLS a page has no clipboard.
  await tab.page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await form.getByRole("button", { name: "Copy" }).click();
  await form.getByRole("button", { name: "Copied" }).waitFor();
  const low = tab.page.locator("tbody tr").nth(15).getByRole("button", { name: "Revoke" });
  const seen = async (line) => {
    await line.waitFor();
    const { y, height } = await line.boundingBox();
    return y >= 0 && y + height <= tab.page.viewportSize().height;
  };
  await low.click();
  await tab.confirm();
  assert.ok(await seen(tab.page.getByRole("status").filter({ hasText: "is revoked" })));
  await server.kill();
  await tab.page.locator("tbody button").nth(16).click();
  await tab.confirm();
  assert.ok(await seen(tab.page.getByRole("alert").filter({ hasText: "does not answer" })));
  assert.ok(await seen(tab.page.locator(".banner.offline")));
  tab.assertClean();
});

test("a list that got no answer comes once the server is back", async (t) => {
  const { server, context } = await begin(t);
  const tab = await AdminTab.open(context, server, await server.adminToken());
  await server.kill();
  for (const [section, empty] of [["Revocations", "Nothing is revoked"], ["Connections", "Nobody is connected."]]) {
    await tab.go(section);
    await tab.page.getByRole("alert").getByText("does not answer").waitFor();
    await server.up();
    await tab.page.getByText(empty).waitFor();
    await server.kill();
  }
  tab.assertClean();
});

test("in a small window what came of a press is in sight, and the top is not in the way", async (t) => {
  const { server, browser } = await begin(t);
  const phone = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };
  const tab = await AdminTab.open(await newContext(browser, phone), server, await server.adminToken());
  await tab.go("Tokens");
  const user = tab.card("Issue a token").getByLabel("User", { exact: true });
  await user.fill("5");
  await user.press("Enter");
  // It used to appear below the window, where nothing else had changed.
  await tab.page.getByLabel("The new token").waitFor();
  await tab.page.waitForFunction(() => {
    const { top, bottom } = document.querySelector(".made").getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
  });
  const places = () => tab.page.evaluate(() =>
    ["h1", "header .plain", "header nav"].map((part) => document.querySelector(part).getBoundingClientRect()));
  const [title, signOut, sections] = await places();
  assert.ok(signOut.top < title.bottom && signOut.bottom <= sections.top + 1, "one line above the sections");

  // As large as 400 % of a window of 1280 by 1024.
  await tab.page.setViewportSize({ width: 320, height: 256 });
  await tab.page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
  await tab.page.waitForFunction(() => document.querySelector("header").getBoundingClientRect().bottom <= 0);
  await server.kill();
  await tab.page.locator(".banner.offline").waitFor();
  await tab.page.waitForFunction(() => document.querySelector(".banner").getBoundingClientRect().top === 0);
  tab.assertClean();
});
