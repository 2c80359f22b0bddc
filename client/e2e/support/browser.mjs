// Chromium, and what a person does with the page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Starts Chromium; it trusts the certificate of `server` alone, and nothing else is relaxed. */
export async function startBrowser(test, server, ...more) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      `--ignore-certificate-errors-spki-list=${server.fingerprint}`, ...more,
    ],
  });
  test.after(() => browser.close());
  return browser;
}

/** Where pictures of the page go; not kept in the repository. */
export const shots = fileURLToPath(new URL("../.shots/", import.meta.url));

/** A browser profile of its own, in English and by daylight unless told. */
export function newContext(browser, options = {}) {
  return browser.newContext({
    locale: "en-GB", colorScheme: "light", viewport: { width: 1280, height: 800 },
    reducedMotion: "reduce", ...options,
  });
}

/** A new page, and everything on it that should never happen in any test. */
export async function newPage(context) {
  const page = await context.newPage();
  const faults = [];
  const said = [];
  page.setDefaultTimeout(45_000);
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("pageerror", (error) => faults.push(`error: ${error.stack}`));
  page.on("console", (message) => {
    const text = message.text();
    said.push(text);
    // A server that is down, and one that refuses, are part of some tests.
    if (message.type() === "error" && !/Failed to load resource|WebSocket connection/.test(text)) {
      faults.push(`console: ${text}`);
    }
  });
  page.on("requestfailed", (request) => said.push(`${new URL(request.url()).pathname}: ${request.failure()?.errorText}`));
  return { page, faults, said };
}

/** Subtests that build on each other: behind one that failed the others are not begun. */
export function steps(test) {
  return async (name, work) => {
    let failed = null;
    await test.test(name, () => work().catch((why) => {
      failed = why;
      throw why;
    }));
    if (failed) throw new Error(`nothing behind "${name}" was tried`);
  };
}

/** What axe finds wrong, in words. */
export async function violations(page) {
  // Evaluated from outside: the page's own policy would let no such script in.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap((found) => found.nodes.map((node) => `${found.id}: ${node.html} ${node.failureSummary}`));
}

/** One tab with the chat page in it, signed in with `token`. */
export class Tab {
  /** Everything that should never happen in any test. */
  faults = [];

  static async open(context, server, token, peer = null) {
    const tab = new Tab();
    tab.server = server;
    Object.assign(tab, await newPage(context));
    server.witnesses.push(() => tab.witness());
    await tab.page.goto(`${server.origin}/#token=${token}`);
    if (peer !== null) await tab.talkTo(peer);
    return tab;
  }

  get log() {
    return this.page.getByRole("log");
  }

  get field() {
    return this.page.locator(".composer textarea");
  }

  /** Opens the conversation with a user by number. */
  async talkTo(peer) {
    await this.page.getByRole("button", { name: "New conversation" }).click();
    await this.page.getByLabel("User number").fill(String(peer));
    await this.page.getByRole("button", { name: "Open", exact: true }).click();
    await this.log.waitFor();
    await this.loaded();
  }

  /** Opens a conversation of the list. */
  async openLine(peer) {
    await this.page.locator(`[data-peer="${peer}"]`).click();
    await this.log.waitFor();
    await this.loaded();
  }

  loaded() {
    return this.page.locator('[role="log"][aria-busy="false"]').waitFor();
  }

  async write(text) {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  bubble(text) {
    return this.page.locator(".message").filter({ has: this.page.locator(".text", { hasText: text }) });
  }

  /** Waits for a message of ours to have come so far: pending, stored, read, failed. */
  state(text, state) {
    return this.page.locator(`.message.mine.${state}`, { has: this.page.getByText(text, { exact: true }) }).waitFor();
  }

  sees(text) {
    return this.page.locator(".message .text").getByText(text, { exact: true }).waitFor();
  }

  /** Nobody looks at the page any more: browsers without a screen do not say so by themselves. */
  hide() {
    return this.page.evaluate(() => {
      Object.defineProperty(document, "hidden", { value: true, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    });
  }

  lookAgain() {
    return this.page.evaluate(() => {
      delete document.hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    });
  }

  /** Keeps the notifications that the page shows in `window.shown`. */
  notes() {
    return this.page.evaluate(() => {
      window.shown = [];
      window.Notification = class extends Notification {
        constructor(title, options) {
          super(title, options);
          window.shown.push(this);
        }
        close() {
          super.close();
          this.isClosed = true;
        }
      };
    });
  }

  /** The texts in the document, in order. */
  texts() {
    return this.page.locator(".message .text").allTextContents();
  }

  /** Waits until the page finds `what` true of itself. */
  until(what, argument) {
    return this.page.waitForFunction(what, argument);
  }

  /** What stands on the page, for whoever looks for why a test failed. */
  async witness() {
    const shown = await this.page.locator("body").innerText({ timeout: 5000 }).catch((why) => `nothing: ${why.message}`);
    return `--- ${this.page.url()} shows ---\n${shown}\n--- and said ---\n${this.said.join("\n")}`;
  }

  assertClean() {
    assert.deepEqual(this.faults, []);
  }
}
