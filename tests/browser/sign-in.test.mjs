// The main job in a real browser: a page leads to the login page and back, by keyboard, on a phone's width too, in light
// and dark; nothing that axe-core objects to; the cookie is dead after signing out.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PASSWORD, accessible, hasFocus, start, visit } from "./harness.mjs";

let world, base, browser;

before(async () => {
  world = await start(`amy:${PASSWORD}:admin@acme,bob:${PASSWORD}:@acme`);
  ({ base, browser } = world);
});

after(() => world?.stop());

for (const [name, options] of [
  ["desktop-light", { viewport: { width: 1280, height: 800 }, colorScheme: "light" }],
  ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }],
  ["narrow-light", { viewport: { width: 320, height: 640 }, colorScheme: "light" }],
]) {
  test(`signs in by keyboard and comes back (${name})`, async () => {
    await visit(browser, options, async (page, context) => {
      await page.goto(`${base}/reports`);
      assert.equal(new URL(page.url()).pathname, "/auth/login");
      await accessible(page, `${name}-login`);
      // The first field has the focus: type, Tab, type, Enter.
      await hasFocus(page, "username");
      await page.keyboard.type("amy");
      await page.keyboard.press("Tab");
      await page.keyboard.type("wrong");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").waitFor();
      assert.equal(await page.getByLabel("User name").inputValue(), "amy", "what was typed is kept");
      await accessible(page, `${name}-failed`);
      // Now the password has it.
      await hasFocus(page, "password");
      await page.keyboard.type(PASSWORD);
      await page.keyboard.press("Enter");
      await page.waitForURL(`${base}/reports`);
      assert.match(await page.textContent("main"), /Signed in as amy of acme, roles: admin/);
      await page.getByLabel("Title").fill("A quarter");
      await page.getByRole("button", { name: "Add" }).click();
      await page.getByText("Added: A quarter").waitFor();

      const cookies = await context.cookies();
      assert.ok(cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === "Lax"));
      await page.goto(`${base}/auth/login`);
      await accessible(page, `${name}-signed-in`);
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByText("You are signed out.").waitFor();
      await accessible(page, `${name}-signed-out`);
      await context.addCookies(cookies);
      await page.goto(`${base}/reports`);
      assert.equal(new URL(page.url()).pathname, "/auth/login", "the old cookie is dead");
    });
  });
}

test("somebody else gets a 403, and another parent's document looks like a missing one", async () => {
  await visit(browser, { viewport: { width: 390, height: 844 } }, async (page) => {
    await page.goto(`${base}/reports`);
    await page.getByLabel("User name").fill("bob");
    await page.getByLabel("Password").fill(PASSWORD);
    const [response] = await Promise.all([
      page.waitForResponse((r) => r.url() === `${base}/reports`),
      page.getByRole("button", { name: "Sign in" }).click(),
    ]);
    assert.equal(response.status(), 403);
    await accessible(page, "forbidden");
    const texts = [];
    for (const id of [2, 3]) {
      assert.equal((await page.goto(`${base}/documents/${id}`)).status(), 403);
      texts.push((await page.textContent("main")).replace(/Reference: \S+/, ""));
    }
    assert.equal(texts[0], texts[1]);
    assert.equal((await page.goto(`${base}/documents/1`)).status(), 200);
  });
});

for (const [width, colorScheme] of [[1280, "light"], [390, "dark"], [320, "light"]]) {
  test(`the own account, ${width} px, ${colorScheme}`, async () => {
    await visit(browser, { viewport: { width, height: 900 }, colorScheme }, async (page) => {
      const second = await browser.newContext();
      const elsewhere = await second.newPage();
      for (const one of [elsewhere, page]) {
        await one.goto(`${base}/auth/login?next=/auth/account`);
        await one.fill("#username", "bob");
        await one.fill("#password", PASSWORD);
        await one.keyboard.press("Enter");
        await one.waitForURL(`${base}/auth/account`);
      }
      assert.equal(await page.locator(".sessions li").count() > 1, true);
      assert.equal(await page.getByText("This one").count(), 1);
      await accessible(page, `account-${width}-${colorScheme}`);

      // Too short a new password is said at its field, which has the focus; nothing comes back.
      await page.fill("#current-password", PASSWORD);
      await page.fill("#new-password", "short");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#new-password-error");
      await hasFocus(page, "new-password");
      assert.equal(await page.inputValue("#new-password"), "");
      await accessible(page, `account-error-${width}-${colorScheme}`);

      await page.getByRole("button", { name: "End all others" }).click();
      await page.waitForURL(`${base}/auth/account?done=sessions`);
      await accessible(page, `account-ended-${width}-${colorScheme}`);
      assert.equal(await page.locator(".sessions li").count(), 1);
      await elsewhere.goto(`${base}/auth/account`);
      assert.match(elsewhere.url(), /\/auth\/login\?next=\/auth\/account$/);
      await second.close();

      await page.goto(`${base}/auth/reauthenticate?next=/auth/account`);
      await accessible(page, `reauthenticate-${width}-${colorScheme}`);
      await hasFocus(page, "password");
      await page.keyboard.type("wrong");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#form-error");
      await hasFocus(page, "password");
      await page.keyboard.type(PASSWORD);
      await page.keyboard.press("Enter");
      await page.waitForURL(`${base}/auth/account`);
    });
  });
}
