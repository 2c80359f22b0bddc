// The administrators' page in a tab, and what a person does with it.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { newContext, newPage, shots, startBrowser } from "./browser.mjs";
import { Server } from "./server.mjs";

/** A server, a browser, and a profile to open the page in. */
export async function begin(t, settings = {}) {
  const server = await Server.start(t, settings);
  const browser = await startBrowser(t, server);
  await mkdir(shots, { recursive: true });
  return { server, browser, context: await newContext(browser) };
}

/** The claims of a token. */
export function claims(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
}

export class AdminTab {
  /** Opens the page, signed in with `token` or at the form. */
  static async open(context, server, token = null) {
    const tab = new AdminTab();
    tab.server = server;
    Object.assign(tab, await newPage(context));
    await tab.page.goto(server.adminOrigin);
    if (token !== null) await tab.signIn(token);
    return tab;
  }

  async signIn(token) {
    await this.page.locator("#token").fill(token);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.page.locator(".plots").waitFor();
  }

  /** Goes to a section by its name. */
  async go(name) {
    await this.page.getByRole("navigation").getByRole("link", { name }).click();
    await this.page.getByRole("heading", { name, level: 2 }).waitFor();
  }

  /** Waits until the page has drawn what it was told about the server, twice. */
  async goesOn() {
    // The second question is asked only after the answer to the first was drawn.
    for (let n = 0; n < 2; n++) await this.page.waitForResponse((answer) => new URL(answer.url()).pathname === "/admin/status");
  }

  /** Keeps what is asked of `url` on the way; what it gives lets it go. */
  async holdBack(url) {
    let letGo;
    const held = new Promise((resolve) => { letGo = resolve; });
    await this.page.route(url, async (route) => {
      await held;
      await route.continue();
    });
    return letGo;
  }

  plot(title) {
    return this.page.locator(".plot").filter({ has: this.page.getByRole("heading", { name: title, exact: true }) });
  }

  /** Waits until the legend of a plot shows `value` (a pattern) for `name`. */
  async shows(title, name, value) {
    const mark = this.plot(title).locator(".legend li").filter({ hasText: name }).locator("b").filter({ hasText: value });
    await mark.waitFor();
  }

  card(title) {
    return this.page.locator("section.card").filter({ has: this.page.getByRole("heading", { name: title, exact: true }) });
  }

  row(text) {
    return this.page.locator("tbody tr").filter({ hasText: text });
  }

  /** Says yes to the question that is asked. */
  async confirm() {
    await this.page.locator("dialog .primary").click();
  }

  status(text) {
    return this.page.getByRole("status").filter({ hasText: text }).waitFor();
  }

  assertClean() {
    assert.deepEqual(this.faults, []);
  }
}
