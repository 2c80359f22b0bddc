// The administrators' page in a tab, and what a person does with it.

import assert from "node:assert/strict";
import { newPage } from "./browser.mjs";

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
