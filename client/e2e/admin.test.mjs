// The administrators' page, on their listener: what it shows is true, and what it does is done.

import assert from "node:assert/strict";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { AdminTab, begin, claims } from "./support/admin.mjs";
import { Tab, newContext, shots, violations } from "./support/browser.mjs";

test("only an administrator's token opens the page, and its end closes it", async (t) => {
  const { server, context } = await begin(t);
  const tab = await AdminTab.open(context, server);
  await tab.page.getByText("imserver token issue --sub 1 --admin").waitFor();
  const field = tab.page.locator("#token");
  const enter = () => tab.page.getByRole("button", { name: "Sign in" }).click();
  await field.fill("nonsense");
  await enter();
  await tab.page.getByRole("alert").getByText("no token").waitFor();
  await field.fill(await server.token(1));
  await enter();
  await tab.status("does not let this token in");
  assert.equal(await tab.page.locator(".plots").count(), 0);
  assert.equal(await tab.page.evaluate(() => sessionStorage.length), 0, "nothing is kept of a token that opens nothing");

  const token = await server.adminToken();
  await tab.signIn(token);
  await tab.page.reload();
  await tab.page.locator(".plots").waitFor();
  assert.equal(await tab.page.evaluate(() => localStorage.length), 0);
  assert.ok(!(await tab.page.content()).includes(token), "the page shows its token");
  assert.ok(!tab.page.url().includes(token));
  await tab.page.getByRole("button", { name: "Sign out" }).click();
  await tab.status("signed out");
  assert.equal(await tab.page.evaluate(() => sessionStorage.length), 0);

  // A link, as `imserver dev` prints it; then an hour passes.
  await tab.page.clock.install();
  await tab.page.goto(`${server.adminOrigin}/#token=${await server.adminToken()}`);
  await tab.page.locator(".plots").waitFor();
  assert.equal(new URL(tab.page.url()).hash, "");
  await tab.page.clock.fastForward("01:00:01");
  await tab.status("has ended");
  tab.assertClean();
});

test("the plots follow what happens, and leave out when nobody answered", async (t) => {
  const { server, browser, context } = await begin(t, { IMSERVER_LIMITS__MESSAGES_PER_SECOND: "1000" });
  const tab = await AdminTab.open(context, server, await server.adminToken());
  await tab.shows("Connections", "Connections", /^0$/);
  await tab.plot("Requests refused").locator("text.nothing").waitFor();

  const [one, two] = [await server.token(1, "小明"), await server.token(2, "小红")];
  const ming = await Tab.open(await newContext(browser), server, one, 2);
  const hong = await Tab.open(await newContext(browser), server, two, 1);
  await tab.shows("Connections", "Connections", /^2$/);
  await tab.shows("Connections", "Users", /^2$/);

  await ming.write("are you there?");
  await hong.sees("are you there?");
  const stored = tab.page.locator(".tile").filter({ hasText: "stored since the start" }).locator("dd").first();
  await stored.filter({ hasText: /^1$/ }).waitFor();
  let writing = true;
  const writer = (async () => {
    for (let n = 0; writing; n++) await server.api(one, "POST", "messages", { toId: 2, content: `message ${n}` });
  })();
  await tab.shows("Messages stored", "per second", /^[1-9]/);
  await tab.shows("Time to acknowledge", "p50", /\d m?s$/);
  await tab.shows("Time to acknowledge", "p99", /\d m?s$/);
  writing = false;
  await writer;

  assert.equal(await server.knock("nonsense"), 401);
  await tab.shows("Requests refused", "malformed", /^1$/);
  await assert.rejects(server.api(one, "POST", "messages", { toId: 0, content: "to the system" }));
  await tab.plot("Connections").getByText("As a table").click();
  await tab.plot("Connections").locator("tbody tr").first().waitFor();

  await server.kill();
  await tab.page.locator(".banner.offline").filter({ hasText: "does not answer" }).waitFor();
  await server.up();
  await tab.page.locator(".banner.none").waitFor({ state: "attached" });
  // Those who were there before it went come back by themselves.
  await tab.shows("Connections", "Connections", /^2$/);
  const line = await tab.plot("Connections").locator("path.line").first().getAttribute("d");
  assert.ok(line.split("M").length > 2, `no gap in ${line}`);

  await appendFile(join(server.folder, "config.toml"), "\nnonsense = 1\n");
  await tab.page.locator(".tile.warn").getByText("not in force: configuration").waitFor();
  for (const one of [tab, ming, hong]) one.assertClean();
});

test("a token that is issued here lets in, and lets out once it is revoked here", async (t) => {
  const { server, context } = await begin(t);
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.adminOrigin });
  const tab = await AdminTab.open(context, server, await server.adminToken());
  await tab.go("Tokens");
  const form = tab.card("Issue a token");
  const issue = async (user) => {
    await form.getByLabel("User", { exact: true }).fill(user);
    await form.getByRole("button", { name: "Issue" }).click();
  };
  await issue("0");
  await form.getByRole("alert").getByText("whole number").waitFor();
  await form.getByLabel("Lives for").fill("999999");
  await tab.goesOn();
  await issue("5");
  await form.getByRole("alert").getByText("auth.max_lifetime").waitFor();
  await form.getByLabel("Lives for").fill("2");
  await form.getByLabel("Name").fill("小刚");
  await issue("5");
  const token = await form.getByLabel("The new token").inputValue();
  assert.deepEqual([claims(token).sub, claims(token).name, claims(token).aud], ["5", "小刚", "imserver"]);
  await form.getByRole("button", { name: "Copy" }).click();
  await form.getByRole("button", { name: "Copied" }).waitFor();
  assert.equal(await tab.page.evaluate(() => navigator.clipboard.readText()), token);

  const gang = await server.socket(token);
  const { jti } = claims(token);
  await tab.row(jti).getByText("admin:9").waitFor();
  await tab.row(jti).getByRole("button", { name: "Revoke" }).click();
  await tab.page.locator("dialog").getByText("user 5").waitFor();
  await tab.page.keyboard.press("Escape");
  assert.equal(await server.knock(token), 101, "nobody said yes");
  await tab.row(jti).getByRole("button", { name: "Revoke" }).click();
  await tab.confirm();
  assert.deepEqual(await gang.closed, { code: 4403, reason: "token_revoked" });
  await tab.row(jti).getByRole("cell", { name: "revoked" }).waitFor();
  assert.equal(await server.knock(token), 401);

  // What was issued on the host is in the ledger too, and goes when it is pasted.
  const other = await server.token(6);
  const six = await server.socket(other);
  await tab.go("Revocations");
  const revoke = tab.card("Revoke");
  await tab.row(jti).waitFor();
  await revoke.getByLabel("Token or jti").fill(other);
  await revoke.getByRole("button", { name: "Revoke" }).click();
  assert.equal((await six.closed).code, 4403);
  await tab.row(claims(other).jti).waitFor();

  await tab.page.getByLabel("All tokens of a user").check();
  const seven = await server.token(7);
  await revoke.getByRole("textbox").fill("7");
  await revoke.getByRole("button", { name: "Revoke" }).click();
  await tab.confirm();
  await tab.row("user 7").waitFor();
  assert.equal(await server.knock(seven), 401);

  const eight = await server.token(8);
  const out = tab.card("Keep a user out");
  await out.getByLabel("User").fill("8");
  await out.getByRole("button", { name: "Disable" }).click();
  await tab.confirm();
  await tab.row("user 8").waitFor();
  assert.equal(await server.knock(eight), 401);
  await tab.row("user 8").getByRole("button", { name: "Enable" }).click();
  await tab.row("user 8").waitFor({ state: "detached" });
  assert.equal(await server.knock(eight), 101);
  tab.assertClean();

  // An administrator's own token goes the same way.
  const second = await AdminTab.open(context, server, await server.adminToken(10));
  await tab.page.getByLabel("All tokens of a user").check();
  await revoke.getByRole("textbox").fill("10");
  await revoke.getByRole("button", { name: "Revoke" }).click();
  await tab.confirm();
  await second.status("takes your token no more");
  assert.equal(await second.page.evaluate(() => sessionStorage.length), 0);
  second.assertClean();
});

test("a notification reaches who it is for, and everybody only when that is meant", async (t) => {
  const { server, context } = await begin(t, { IMSERVER_LIMITS__UNREAD_PER_USER: "2" });
  const [five, six] = await Promise.all([5, 6].map(async (user) => server.socket(await server.token(user, `user ${user}`))));
  const tab = await AdminTab.open(context, server, await server.adminToken());
  await tab.go("Notify");
  const say = async (text) => {
    await tab.page.getByLabel("Message").fill(text);
    await tab.page.getByRole("button", { name: /^Send/ }).click();
  };
  await say("to nobody");
  await tab.page.getByRole("alert").getByText("Name a user").waitFor();
  await tab.page.getByLabel("Users", { exact: true }).fill("5, x");
  await tab.page.getByText("whole numbers from 1, with commas").waitFor();
  // Who was never here finds it later, as many as an inbox holds.
  await tab.page.getByLabel("Users", { exact: true }).fill("424242");
  for (const text of ["the first", "the second"]) {
    await say(text);
    await tab.status("Stored for 1 user.");
  }
  await tab.page.getByLabel("Users", { exact: true }).fill("5，424242 5");
  await tab.page.getByRole("button", { name: "Send to 2 users" }).waitFor();
  await say("to one <b>of you</b>");
  await tab.status("Stored for 1 user, 1 could not get it.");
  await tab.page.getByText("User 424242: the recipient has too many unread messages").waitFor();
  const one = await five.heard(({ content }) => content === "to one <b>of you</b>");
  assert.deepEqual([one.fromId, one.toId, one.type], [0, 5, 2]);

  await tab.page.getByLabel("all known users").check();
  await say("to all");
  await tab.page.locator("dialog").getByRole("button", { name: "Cancel" }).click();
  await tab.status("Nothing was done");
  await tab.page.getByRole("button", { name: "Send to everybody" }).click();
  await tab.confirm();
  await tab.status("Stored for 2 users, 1 could not get it.");
  for (const socket of [five, six]) assert.equal((await socket.heard(({ content }) => content === "to all")).fromId, 0);
  tab.assertClean();
});

test("connections are listed, and closed one by one or a user's all at once", async (t) => {
  const { server, context } = await begin(t);
  const [five, six] = [await server.token(5), await server.token(6)];
  const sockets = [await server.socket(five), await server.socket(six), await server.socket(six)];
  const tab = await AdminTab.open(context, server, await server.adminToken());
  await tab.go("Connections");
  await tab.row(claims(five).jti).getByText("127.0.0.1").waitFor();
  assert.equal(await tab.row(claims(six).jti).count(), 2);
  await tab.row(claims(five).jti).getByRole("button", { name: "Close" }).click();
  await tab.status("1 connection was closed");
  assert.equal((await sockets[0].closed).code, 1001, "it may come back");
  await tab.row(claims(five).jti).waitFor({ state: "detached" });
  await tab.page.getByLabel("Of user", { exact: true }).fill("6");
  await tab.page.getByRole("button", { name: "Show" }).click();
  await tab.page.getByRole("button", { name: "Close all" }).click();
  await tab.confirm();
  await tab.status("2 connections were closed");
  await Promise.all(sockets.map(({ closed }) => closed));
  await tab.page.getByText("Nobody is connected.").waitFor();
  tab.assertClean();
});

test("what others are called is text here, whatever it looks like", async (t) => {
  const { server, context } = await begin(t);
  const bad = "\"><img src=x onerror=alert(1)><script>alert(2)</script>\u202e";
  const name = await server.forge(5, { jti: bad, name: bad });
  const socket = await server.socket(name);
  const tab = await AdminTab.open(context, server, null);
  // The server has no such words of its own: here it is given some.
  const status = await server.administer(await server.adminToken(), "GET", "status");
  let times = 0;
  await tab.page.route("**/admin/status", (route) => {
    const hostile = { version: bad, store: { health: "readOnly", why: bad }, refused: { [bad]: ++times }, notInForce: [bad] };
    return route.fulfill({ json: { ...status, ...hostile } });
  });
  await tab.page.evaluate(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
  });
  const elements = () => tab.page.evaluate(() => document.querySelectorAll("script, img, iframe, object, style").length);
  const before = await elements();
  await tab.page.locator("#token").fill(await server.adminToken());
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await tab.page.locator(".tile.wide").getByText(bad).waitFor();
  await tab.shows("Requests refused", "onerror", /\d/);
  assert.equal(await elements(), before);

  await tab.go("Connections");
  await tab.row(bad).waitFor();
  await tab.go("Revocations");
  await tab.page.getByLabel("Token or jti").fill(bad);
  await tab.card("Revoke").getByRole("button", { name: "Revoke" }).click();
  await tab.row("onerror").waitFor();
  assert.equal((await socket.closed).code, 4403);
  await tab.card("Revoke").getByRole("status").getByText("onerror").waitFor();
  await tab.go("Tokens");
  const form = tab.card("Issue a token");
  await form.getByLabel("User", { exact: true }).fill("5");
  await form.getByLabel("Picture").fill("javascript:alert(3)");
  await form.getByRole("button", { name: "Issue" }).click();
  await form.getByRole("alert").waitFor();
  await tab.go("Notify");
  await tab.page.getByLabel("Users", { exact: true }).fill(bad);
  await tab.page.getByRole("button", { name: /^Send/ }).click();
  await tab.page.getByRole("alert").waitFor();
  assert.equal(await elements(), before);
  assert.deepEqual(await tab.page.evaluate(() => window.violations), []);
  tab.assertClean();
});

const WIDTHS = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
};

test("axe finds nothing wrong with any section, at any width and in any light", async (t) => {
  const { server, browser } = await begin(t);
  const sockets = await Promise.all([1, 2, 3].map(async (user) => server.socket(await server.token(user, "小明"))));
  await server.knock("nonsense");
  const token = await server.adminToken();
  for (const [width, options] of Object.entries(WIDTHS)) {
    for (const [colorScheme, locale] of [["light", "en-GB"], ["dark", "en-GB"], ["light", "zh-CN"]]) {
      const name = `${width}-${colorScheme}-${locale.slice(0, 2)}`;
      await t.test(name, async () => {
        const context = await newContext(browser, { ...options, colorScheme, locale });
        const tab = await AdminTab.open(context, server);
        const look = async (what) => {
          await tab.page.screenshot({ path: `${shots}admin-${what}-${name}.png` });
          assert.deepEqual(await violations(tab.page), [], what);
          const { scrollWidth, clientWidth } = await tab.page.evaluate(() => document.documentElement);
          assert.ok(!(scrollWidth > clientWidth), `${what}: wider than the window`);
          if (width !== "phone") return;
          const small = await tab.page.locator("button:visible, nav a:visible, input:visible, select:visible").evaluateAll((all) =>
            all.filter((one) => (one.closest(".check") ?? one).offsetHeight < 44).map((one) => one.outerHTML));
          assert.deepEqual(small, [], "smaller than a finger");
        };
        await look("sign-in");
        await tab.page.locator("#token").fill(token);
        await tab.page.locator("button.primary").click();
        await tab.page.locator(".plots .line").first().waitFor({ state: "attached" });
        await tab.page.locator("summary").first().click();
        await tab.page.locator(".plot tbody tr").first().waitFor();
        await look("overview");
        for (const section of ["connections", "tokens", "revocations", "notify"]) {
          await tab.page.locator(`nav a[href="#/${section}"]`).click();
          await tab.page.locator(`nav a[href="#/${section}"][aria-current]`).waitFor();
          if (section !== "notify") await tab.page.locator("section.card :is(table, p.quiet)").last().waitFor();
          await look(section);
        }
        assert.equal(await tab.page.locator("html").getAttribute("lang"), locale === "zh-CN" ? "zh-CN" : "en");
        tab.assertClean();
        await context.close();
      });
    }
  }
  for (const { end } of sockets) end();
});
