// 'Stay signed in' in a real browser: ticked by keyboard and by finger, what the cookie then is, and what the account page says of it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PASSWORD, accessibleEverywhere, hasFocus, start, visit } from "./harness.mjs";

const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true };
const DAY = 24 * 60 * 60;

let world, browser;

before(async () => {
  world = await start(`amy:${PASSWORD}:admin@acme,bob:${PASSWORD}:@acme`, {
    IAM_LONG_SESSIONS: "30d/90d",
    IAM_LONG_SESSIONS_FOR: "@acme",
  });
  ({ browser } = world);
});

after(() => world?.stop());

const box = (page) => page.getByRole("checkbox", { name: "Stay signed in", exact: true });
const stays = (page) => page.getByText("Stays signed in");

/** For how many days from now the browser keeps the session's cookie; none if it goes with the browser. */
async function days(context) {
  const { expires } = (await context.cookies()).find(({ name }) => name === "iam_session");
  return expires === -1 ? undefined : Math.round((expires - Date.now() / 1000) / DAY);
}

async function fill(page, name, password = PASSWORD) {
  await page.fill("#username", name);
  await page.fill("#password", password);
}

test("by keyboard alone: ticked with Space, kept when the password was wrong, and the session stays", async () => {
  await visit(browser, DESK, async (page, context) => {
    const { keyboard } = page;
    await page.goto("/auth/login?next=/auth/account");
    await hasFocus(page, "username");
    assert.equal(await box(page).isChecked(), false, "nobody stays signed in by accident");
    assert.equal(await page.locator(`#${await box(page).getAttribute("aria-describedby")}`).isVisible(), true);
    await accessibleEverywhere(page, "stay-login");

    await page.locator("#username").focus();
    await keyboard.type("amy");
    await keyboard.press("Tab");
    await hasFocus(page, "password");
    await keyboard.type("not the password");
    await keyboard.press("Tab");
    await hasFocus(page, "stay");
    const outline = await box(page).evaluate((element) => getComputedStyle(element));
    assert.notEqual(outline.outlineStyle, "none", "the focus shows");
    await keyboard.press("Space");
    assert.equal(await box(page).isChecked(), true);
    // Enter in a checkbox sends the form, as it does in a field.
    await keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    await hasFocus(page, "password");
    assert.equal(await box(page).isChecked(), true, "what was ticked stays, whatever was typed");
    await accessibleEverywhere(page, "stay-login-wrong");

    await page.locator("#password").focus();
    await keyboard.type(PASSWORD);
    await keyboard.press("Tab");
    await keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Sign in");
    await keyboard.press("Enter");
    await page.waitForURL("/auth/account");
    const kept = await days(context);
    assert.ok(kept >= 30 && kept <= 90, `the cookie is kept for ${kept} days`);
    assert.equal(await stays(page).count(), 1);
    await accessibleEverywhere(page, "stay-account");
  });
});

test("by finger on a phone: the words tick it, there is room for the finger, and nothing is too wide", async () => {
  await visit(browser, PHONE, async (page, context) => {
    await page.goto("/auth/login?next=/auth/account");
    const words = page.getByText("Stay signed in", { exact: true });
    const [tick, text] = [await box(page).boundingBox(), await words.boundingBox()];
    assert.ok(Math.min(tick.width, tick.height) >= 24, `the box: ${tick.width} x ${tick.height}`);
    assert.ok(text.height >= 24 && text.x >= tick.x + tick.width, `the words: ${text.width} x ${text.height}`);
    const wide = () => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(await wide() <= 0, "no scrolling to the side");
    await words.tap();
    assert.equal(await box(page).isChecked(), true);
    await words.tap();
    assert.equal(await box(page).isChecked(), false, "and away again");
    await words.tap();
    await fill(page, "bob");
    await page.getByRole("button", { name: "Sign in", exact: true }).tap();
    await page.waitForURL("/auth/account");
    assert.ok(await days(context) >= 30);
    assert.ok(await wide() <= 0, "nor on the account page");
  });
});

test("without it the session goes with the browser", async () => {
  await visit(browser, DESK, async (page, context) => {
    await page.goto("/auth/login?next=/auth/account");
    await fill(page, "amy");
    await page.locator("#password").press("Enter");
    await page.waitForURL("/auth/account");
    assert.equal(await days(context), undefined);
    assert.equal(await page.locator(".sessions li").filter({ hasText: "This one" }).filter({ has: stays(page) }).count(), 0);
  });
});
