// Trusted browsers in a real browser: ticked with the second factor, asked for nothing at the next sign-in, still asked for a fresh
// proof where one is needed, and forgotten.
//
// Everybody has an authenticator of their own and needs three codes at most: so many can be had without waiting for the clock.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PASSWORD, accessibleEverywhere, hasFocus, start, visit } from "./harness.mjs";
import { addApp, enter, refused, signIn, signOut, tabTo } from "./people.mjs";

const PEOPLE = ["amy", "ben", "cat"];
const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 360, height: 740 }, colorScheme: "dark", hasTouch: true };

let world, browser;

before(async () => {
  const users = PEOPLE.map((name) => `${name}:${PASSWORD}:admin@acme`).join();
  world = await start(users, { IAM_TRUSTED_DEVICES: "30d" });
  ({ browser } = world);
});

after(() => world?.stop());

// -- what people do --

const path = (page) => new URL(page.url()).pathname;
const box = (page) => page.getByRole("checkbox", { name: "Do not ask again on this browser for 30 days", exact: true });
const forget = (page) => page.getByRole("button", { name: "Forget all trusted browsers" });

/** Adds an authenticator app and comes back to where the second sign-in asks for its code. */
async function asked(page, name) {
  await signIn(page, name);
  const app = await addApp(page, "Phone");
  await signOut(page);
  await signIn(page, name, "/reports");
  assert.equal(path(page), "/auth/mfa/verify");
  return app;
}

// -- the tests --

test("by keyboard alone: ticked, not asked again but for a purpose of its own, forgotten and asked again", async () => {
  await visit(browser, DESK, async (page) => {
    const { keyboard } = page;
    const app = await asked(page, "amy");
    await hasFocus(page, "code");
    assert.equal(await box(page).isChecked(), false, "nobody trusts a browser by accident");
    await accessibleEverywhere(page, "trusted-verify");

    // It stands between the code and the button, and what it means is told with it.
    await page.locator("#code").focus();
    await keyboard.type(app.wrong());
    await keyboard.press("Tab");
    await hasFocus(page, "trust-device");
    assert.equal(await page.locator(`#${await box(page).getAttribute("aria-describedby")}`).isVisible(), true);
    await keyboard.press("Space");
    await keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Confirm");
    await keyboard.press("Enter");
    await page.locator("#code-error").waitFor();
    await hasFocus(page, "code");
    assert.equal(await box(page).isChecked(), true, "what was ticked stays, whatever was typed");
    await accessibleEverywhere(page, "trusted-verify-wrong");
    await page.locator("#code").focus();
    await keyboard.type(await app.next());
    await keyboard.press("Enter");
    await page.waitForURL("/reports");

    await signOut(page);
    await signIn(page, "amy", "/reports");
    assert.equal(path(page), "/reports", "the password alone");

    // The browser stands in for the code at sign-in, and for nothing else.
    await page.goto("/payroll");
    await page.waitForURL("/auth/mfa/verify?purpose=payroll&next=/payroll");
    assert.equal(await page.getByRole("checkbox").count(), 0);
    await enter(page, await app.next());
    await page.waitForURL("/payroll");

    await page.goto("/auth/account");
    await page.getByRole("heading", { name: "Trusted browsers" }).waitFor();
    await accessibleEverywhere(page, "trusted-account");
    await tabTo(page, forget(page));
    await keyboard.press("Enter");
    await page.waitForURL("/auth/account?done=browsers");
    await page.getByRole("status").filter({ hasText: "No browser is trusted any more." }).waitFor();
    await accessibleEverywhere(page, "trusted-forgotten");
    await signOut(page);
    await signIn(page, "amy", "/reports");
    assert.equal(path(page), "/auth/mfa/verify");
    assert.equal(await box(page).isChecked(), false, "that was said about another time");
  });
});

test("with a finger: the words tick it, too, and there is room for the finger", async () => {
  await visit(browser, PHONE, async (page) => {
    const app = await asked(page, "ben");
    const words = page.getByText("Do not ask again on this browser for 30 days", { exact: true });
    const [tick, text] = [await box(page).boundingBox(), await words.boundingBox()];
    assert.ok(Math.min(tick.width, tick.height) >= 24, `the box: ${tick.width} x ${tick.height}`);
    assert.ok(text.height >= 24 && text.x >= tick.x + tick.width, `the words: ${text.width} x ${text.height}`);
    await words.tap();
    assert.equal(await box(page).isChecked(), true);
    await words.tap();
    assert.equal(await box(page).isChecked(), false, "and away again");
    await words.tap();
    await refused(page, app.wrong());
    assert.equal(await box(page).isChecked(), true);
    await box(page).tap();
    await enter(page, await app.next());
    await page.waitForURL("/reports");
    await signOut(page);
    await signIn(page, "ben", "/reports");
    assert.equal(path(page), "/auth/mfa/verify", "taken back in time: asked as ever");
  });
});

test("a lost device: forgotten from another one, which was never trusted", async () => {
  await visit(browser, PHONE, async (lost) => {
    const app = await asked(lost, "cat");
    await box(lost).tap();
    await enter(lost, await app.next());
    await lost.waitForURL("/reports");
    await signOut(lost);
    await signIn(lost, "cat", "/reports");
    assert.equal(path(lost), "/reports");
    await signOut(lost);

    await visit(browser, DESK, async (other) => {
      await signIn(other, "cat", "/auth/account");
      assert.equal(path(other), "/auth/mfa/verify", "another browser is asked");
      await enter(other, await app.next());
      await other.waitForURL("/auth/account");
      await forget(other).click();
      await other.waitForURL("/auth/account?done=browsers");
    });
    await signIn(lost, "cat", "/reports");
    assert.equal(path(lost), "/auth/mfa/verify", "the trust is over where it was");
  });
});
