// The main job in a real browser: a page leads to the login page and back, by keyboard, on a phone's width too, in light
// and dark; nothing that axe-core objects to; the cookie is dead after signing out.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const require = createRequire(join(process.env.IAM_BROWSER_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core");
const PASSWORD = "a long pass phrase";
const shots = process.env.IAM_TEST_SCREENSHOTS;

let folder, app, base, browser;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "iam-browser-"));
  const port = await freePort();
  base = `http://localhost:${port}`;
  const env = {
    PATH: process.env.PATH,
    IAM_LISTEN: `127.0.0.1:${port}`,
    IAM_DEMO_USERS: `amy:${PASSWORD}:admin@acme,bob:${PASSWORD}:@acme`,
  };
  app = spawn(process.env.IAM_TEST_APP, { cwd: folder, env, stdio: "ignore" });
  await answers(`${base}/readyz`);
  browser = await chromium.launch({
    executablePath: process.env.IAM_TEST_CHROMIUM,
    args: ["--no-sandbox", "--disable-background-networking"],
  });
});

after(async () => {
  await browser?.close();
  app?.kill();
  rmSync(folder, { recursive: true, force: true });
});

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function answers(url) {
  const until = Date.now() + 30_000;
  for (;;) {
    const up = await fetch(url).then((r) => r.ok, () => false);
    if (up) return;
    assert.ok(Date.now() < until, `${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function visit(options, run) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => { complaints.push(dialog.message()); dialog.dismiss(); });
  try {
    await run(page, context);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

async function accessible(page, name) {
  // The page's policy allows no scripts, as it should: the checker comes in by the debugger.
  const client = await page.context().newCDPSession(page);
  const source = require("node:fs").readFileSync(axe, "utf8");
  await client.send("Runtime.evaluate", { expression: source });
  const { result } = await client.send("Runtime.evaluate", {
    expression: "axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)])))",
    awaitPromise: true,
    returnByValue: true,
  });
  assert.deepEqual(JSON.parse(result.value), [], name);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow}px too wide`);
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

for (const [name, options] of [
  ["desktop-light", { viewport: { width: 1280, height: 800 }, colorScheme: "light" }],
  ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark" }],
  ["narrow-light", { viewport: { width: 320, height: 640 }, colorScheme: "light" }],
]) {
  test(`signs in by keyboard and comes back (${name})`, async () => {
    await visit(options, async (page, context) => {
      await page.goto(`${base}/reports`);
      assert.equal(new URL(page.url()).pathname, "/auth/login");
      await accessible(page, `${name}-login`);
      // The first field has the focus: type, Tab, type, Enter.
      await page.keyboard.type("amy");
      await page.keyboard.press("Tab");
      await page.keyboard.type("wrong");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").waitFor();
      assert.equal(await page.getByLabel("User name").inputValue(), "amy", "what was typed is kept");
      await accessible(page, `${name}-failed`);
      // Now the password has it.
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
  await visit({ viewport: { width: 390, height: 844 } }, async (page) => {
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
    await visit({ viewport: { width, height: 900 }, colorScheme }, async (page) => {
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
      assert.equal(await page.evaluate(() => document.activeElement.id), "new-password");
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
      await page.keyboard.type("wrong");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#form-error");
      await page.keyboard.type(PASSWORD);
      await page.keyboard.press("Enter");
      await page.waitForURL(`${base}/auth/account`);
    });
  });
}
