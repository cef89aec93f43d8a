// What people have at hand and do, in the tests of second factors: an authenticator app, signing in, typing a code, the keyboard alone.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { PASSWORD, until } from "./harness.mjs";

/** An authenticator app (RFC 6238): SHA-1, six digits, thirty seconds. */
export class Authenticator {
  #last = 0;

  constructor(typed) {
    this.secret = typed.replaceAll(" ", "");
    const bits = [...this.secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0"));
    this.key = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  }

  static step() {
    return Math.floor(Date.now() / 30_000);
  }

  at(step) {
    return process.env.IAM_TEST_OATHTOOL === "1" ? oathtool(this.secret, step) : this.own(step);
  }

  own(step) {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(step));
    const mac = createHmac("sha1", this.key).update(counter).digest();
    const code = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fff_ffff;
    return String(code % 1_000_000).padStart(6, "0");
  }

  /** A code that was not used yet. The service takes those of the step before and after, too, so that few have to be waited for. */
  async next() {
    // Not the step that is about to be too old.
    const earliest = () => Math.floor((Date.now() + 5_000) / 30_000) - 1;
    await until(() => this.#last <= Authenticator.step(), "the clock stands still", 60_000);
    this.#last = Math.max(this.#last + 1, earliest());
    return this.at(this.#last);
  }

  wrong() {
    const now = Authenticator.step();
    const right = [-2, -1, 0, 1, 2].map((by) => this.at(now + by));
    return ["000000", "111111", "222222", "333333", "444444", "555555"].find((code) => !right.includes(code));
  }
}

/** What oathtool shows. */
export function oathtool(secret, step) {
  const options = ["--totp", "--base32", "--now", `@${step * 30}`, secret];
  return execFileSync("oathtool", options, { encoding: "utf8" }).trim();
}

export async function signIn(page, name, next = "/auth/account") {
  await page.goto(`/auth/login?next=${next}`);
  await page.fill("#username", name);
  await page.fill("#password", PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => url.pathname !== "/auth/login");
}

export async function signOut(page) {
  await page.goto("/auth/account");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByText("You are signed out.").waitFor();
}

/** Adds an authenticator app and confirms it; ends on the account page. */
export async function addApp(page, called) {
  await page.goto("/auth/account");
  await page.getByRole("link", { name: "Add an authenticator app" }).click();
  await page.getByLabel("Name").fill(called);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("I cannot scan it").click();
  const app = new Authenticator(await page.locator(".secret").textContent());
  await enter(page, await app.next());
  await page.waitForURL("/auth/account?done=factor_added");
  return app;
}

export async function makeCodes(page) {
  await page.goto("/auth/account");
  await page.getByRole("button", { name: /^Make (new )?recovery codes$/ }).click();
  await page.getByRole("heading", { name: "Your recovery codes" }).waitFor();
  return page.locator(".codes li").allTextContents();
}

export async function enter(page, code) {
  await page.fill("#code", code);
  await page.getByRole("button", { name: "Confirm", exact: true }).click();
}

export async function refused(page, code) {
  await enter(page, code);
  await page.locator("#code-error").waitFor();
}

/** Tabs until something has the focus, and sees that it shows. */
export async function tabTo(page, target) {
  for (let n = 0; n < 40; n += 1) {
    await page.keyboard.press("Tab");
    if (await target.evaluate((element) => element === document.activeElement)) {
      const outline = await target.evaluate((element) => getComputedStyle(element).outlineStyle);
      assert.notEqual(outline, "none", "the focus shows");
      return;
    }
  }
  assert.fail("the keyboard does not get there");
}
