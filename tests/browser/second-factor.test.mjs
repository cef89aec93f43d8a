// Second factors in a real browser: an authenticator app, recovery codes and codes by e-mail, from adding them to losing them. The
// authenticator is the test's own, or with IAM_TEST_OATHTOOL=1 `oathtool`; the mails are what the application sends or prints.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { PASSWORD, accessibleEverywhere, hasFocus, start, until, visit } from "./harness.mjs";
import { Authenticator, addApp, enter, makeCodes, oathtool, refused, signIn, signOut, tabTo } from "./people.mjs";

const PEOPLE = ["amy", "bea", "cat", "dan", "eve", "fay"];
const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: "dark" };

let world, base, browser;

before(async () => {
  world = await start(PEOPLE.map((name) => `${name}:${PASSWORD}:admin@acme`).join());
  ({ base, browser } = world);
});

after(() => world?.stop());

// -- what people have at hand --

/** The code of the newest mail, once there are so many with one. */
async function mailedCode(address, count) {
  const codes = async () => {
    const found = (await world.mails(address)).map(({ text }) => /^ {4}(\d{8})\r?$/m.exec(text)?.[1]).filter(Boolean);
    return found.length >= count && found;
  };
  return (await until(codes, `no mail number ${count} to ${address}`)).at(-1);
}

const path = (page) => new URL(page.url()).pathname;

// -- the tests --

test("an authenticator app: added, named, asked for, wrong and right", async () => {
  await visit(browser, DESK, async (page) => {
    await signIn(page, "amy");
    await accessibleEverywhere(page, "factors-none");
    await page.getByRole("link", { name: "Add an authenticator app" }).click();
    await page.getByRole("heading", { name: "Add an authenticator app" }).waitFor();
    await accessibleEverywhere(page, "factor-name");

    // What can't be a name is said at the field.
    await page.getByLabel("Name").fill("é".repeat(100));
    await page.getByRole("button", { name: "Continue" }).click();
    await page.waitForSelector("#name-error");
    await hasFocus(page, "name");
    await accessibleEverywhere(page, "factor-name-error");

    await page.getByLabel("Name").fill("My phone");
    await page.getByRole("button", { name: "Continue" }).click();
    const picture = page.getByRole("img", { name: /QR code/ });
    await picture.waitFor();
    await accessibleEverywhere(page, "confirm-app");
    await page.emulateMedia({ colorScheme: "dark" });
    await scannable(picture.locator("svg"));
    await page.emulateMedia({ colorScheme: null });
    const focus = await page.evaluate(() => document.activeElement.id);
    assert.notEqual(focus, "code", "what to do is read before the field");
    assert.equal(await page.locator(".secret").isVisible(), false);
    await page.getByText("I cannot scan it").click();
    await accessibleEverywhere(page, "confirm-app-typed");
    const typed = await page.locator(".secret").textContent();
    assert.match(typed, /^([A-Z2-7]{4} )*[A-Z2-7]{1,4}$/);
    const app = new Authenticator(typed);
    asOathtool(app);

    // A wrong code: the secret is not shown again, and the page says what to do without it.
    await enter(page, app.wrong());
    await page.locator("#code-error").waitFor();
    await hasFocus(page, "code");
    assert.equal(await page.locator(".qr, .secret").count(), 0);
    await accessibleEverywhere(page, "confirm-app-wrong");
    await enter(page, await app.next());
    await page.waitForURL(`${base}/auth/account?done=factor_added`);
    await page.getByText("My phone").waitFor();
    await accessibleEverywhere(page, "factors-added");

    await signOut(page);
    await signIn(page, "amy", "/reports");
    assert.equal(path(page), "/auth/mfa/verify");
    await hasFocus(page, "code");
    await accessibleEverywhere(page, "verify-app");
    assert.equal((await page.request.get(`${base}/reports`)).status(), 401, "not in yet");
    await enter(page, app.wrong());
    await page.getByRole("alert").waitFor();
    assert.match(await page.title(), /^Error: /);
    await hasFocus(page, "code");
    const error = page.locator("#code-error");
    assert.equal(await error.getAttribute("role"), "alert");
    assert.match(await page.locator("#code").getAttribute("aria-describedby"), /\bcode-error\b/);
    await accessibleEverywhere(page, "verify-app-wrong");
    await enter(page, await app.next());
    await page.waitForURL(`${base}/reports`);
    assert.match(await page.textContent("main"), /Signed in as amy of acme/);

    // Back: the sign-in is over, whatever the page that was shown before; and there is a way on.
    await signOut(page);
    await signIn(page, "amy", "/reports");
    await enter(page, await app.next());
    await page.waitForURL(`${base}/reports`);
    await page.goBack();
    assert.equal(path(page), "/auth/mfa/verify");
    await page.getByText("You are signed in already.").waitFor();
    assert.match(await page.locator("#code").getAttribute("aria-describedby"), /\bwhy\b/, "whoever hears the field is told, too");
    await accessibleEverywhere(page, "verify-again");
    await page.getByRole("link", { name: "Cancel" }).click();
    await page.waitForURL(`${base}/reports`);

    await page.goto(`${base}/auth/account`);
    await page.getByText("Rename or remove").click();
    await accessibleEverywhere(page, "factors-open");
    await page.getByRole("textbox", { name: "Name" }).fill("The old phone");
    await page.getByRole("button", { name: "Rename" }).click();
    await page.waitForURL(`${base}/auth/account?done=factor_renamed`);
    await page.locator(".device", { hasText: "The old phone" }).waitFor();
    await page.getByText("Rename or remove").click();
    await page.getByRole("textbox", { name: "Name" }).fill("é".repeat(100));
    await page.getByRole("button", { name: "Rename" }).click();
    await page.waitForURL(`${base}/auth/account?done=factor_name`);
    await page.getByRole("alert").waitFor();
    await accessibleEverywhere(page, "factors-bad-name");
  });
});

test("the phone is lost: a recovery code gets in, once, and the app is removed", async () => {
  await visit(browser, PHONE, async (page) => {
    await signIn(page, "bea");
    await addApp(page, "Phone");
    const codes = await makeCodes(page);
    assert.equal(codes.length, 10);
    assert.ok(codes.every((code) => /^([0-9A-HJKMNP-TV-Z]{6}-){3}[0-9A-HJKMNP-TV-Z]{6}$/.test(code)), codes.join());
    await accessibleEverywhere(page, "codes");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download as a text file" }).click(),
    ]);
    assert.equal(download.suggestedFilename(), "recovery-codes.txt");
    const file = readFileSync(await download.path(), "utf8").split("\r\n");
    assert.deepEqual(file.filter((line) => codes.includes(line)), codes);
    assert.match(file[0], /bea/);
    assert.match(file[0], /Example/);
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    assert.equal(await page.getByRole("link", { name: "Download as a text file" }).isVisible(), false);
    assert.equal(await page.locator(".codes li").first().isVisible(), true);
    const ink = await page.locator("body").evaluate((body) => getComputedStyle(body).color);
    assert.match(ink, /^rgb\(0, 0, 0\)$/, "ink, and not the light text of the dark page");
    if (process.env.IAM_TEST_SCREENSHOTS) {
      await page.screenshot({ path: `${process.env.IAM_TEST_SCREENSHOTS}/codes-print.png`, fullPage: true });
    }
    await page.emulateMedia({ media: null, colorScheme: null });
    await page.getByRole("link", { name: "I have kept them" }).click();
    await page.waitForURL(`${base}/auth/account`);
    await page.getByText("You have 10 recovery codes left.").waitFor();
    await signOut(page);

    await signIn(page, "bea", "/reports");
    await page.getByRole("link", { name: "Use a recovery code" }).click();
    await page.getByLabel("Recovery code", { exact: true }).waitFor();
    await hasFocus(page, "code");
    await accessibleEverywhere(page, "verify-recovery");
    await enter(page, "AAAAAA-AAAAAA-AAAAAA-AAAAAA");
    await page.locator("#code-error").waitFor();
    await accessibleEverywhere(page, "verify-recovery-wrong");
    // As people type it.
    await enter(page, codes[3].toLowerCase().replaceAll("-", " "));
    await page.waitForURL(`${base}/reports`);

    await page.goto(`${base}/auth/account`);
    await page.getByText("You have 9 recovery codes left.").waitFor();
    await signOut(page);
    await signIn(page, "bea", "/reports");
    await page.getByRole("link", { name: "Use a recovery code" }).click();
    await enter(page, codes[3]);
    await page.locator("#code-error").waitFor();
    await enter(page, codes[4]);
    await page.waitForURL(`${base}/reports`);

    // Proved again, as whoever signed in a while ago is asked to before a change; it leads back to where they were.
    await page.goto(`${base}/auth/mfa/verify?method=recovery_code&next=/auth/account`);
    await page.getByText("You are signed in already.").waitFor();
    await enter(page, codes[5]);
    await page.waitForURL(`${base}/auth/account`);
    await page.goto(`${base}/auth/account`);
    await page.getByText("Rename or remove").click();
    await page.getByRole("button", { name: "Remove Phone" }).click();
    await page.waitForURL(`${base}/auth/account?done=factor_removed`);
    await accessibleEverywhere(page, "factors-removed");
    assert.equal(await page.getByText("recovery codes left").count(), 0, "they went with the last factor");
    await signOut(page);
    await signIn(page, "bea", "/reports");
    assert.equal(path(page), "/reports", "the password alone signs in again");
  });
});

test("codes by e-mail: added, sent, asked for again", async () => {
  const address = "cat@acme.example";
  await visit(browser, DESK, async (page) => {
    await signIn(page, "cat");
    await page.getByRole("link", { name: "Add codes by e-mail" }).click();
    await accessibleEverywhere(page, "factor-email");
    await page.getByLabel("E-mail address").fill(`${"a".repeat(70)}@acme.example`);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.waitForSelector("#email-error");
    await hasFocus(page, "email");
    await accessibleEverywhere(page, "factor-email-error");
    await page.getByLabel("E-mail address").fill(address);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("A code was sent to c***@acme.example.").waitFor();
    await accessibleEverywhere(page, "confirm-email");
    await enter(page, await mailedCode(address, 1));
    await page.waitForURL(`${base}/auth/account?done=factor_added`);
    assert.equal(await page.getByText("email_otp").count(), 0, "it has a name for people");
    await accessibleEverywhere(page, "factors-email");
    await makeCodes(page);
    await signOut(page);

    await signIn(page, "cat", "/reports");
    assert.equal(path(page), "/auth/mfa/verify");
    const first = await mailedCode(address, 2);
    await accessibleEverywhere(page, "verify-email");
    await page.getByText(/Another code can be sent in \d+ seconds?/).waitFor();
    await page.getByRole("button", { name: "Send another code" }).click();
    await page.getByRole("alert").waitFor();
    await accessibleEverywhere(page, "verify-email-too-soon");
    // The one that was sent still counts. Which is a wrong one: not the right one.
    await enter(page, first === "00000000" ? "11111111" : "00000000");
    await page.locator("#code-error").waitFor();
    await accessibleEverywhere(page, "verify-email-wrong");
    const wait = await page.getByText(/Another code can be sent in/).textContent().catch(() => "0 seconds");
    await page.waitForTimeout(1000 * (Number(/(\d+) second/.exec(wait)?.[1] ?? 0) + 1));
    await page.getByRole("button", { name: "Send another code" }).click();
    await page.getByText("A code is on its way to c***@acme.example.").waitFor();
    await accessibleEverywhere(page, "verify-email-again");
    const second = await mailedCode(address, 3);
    if (first !== second) {
      await enter(page, first);
      await page.locator("#code-error").waitFor();
    }
    await enter(page, second);
    await page.waitForURL(`${base}/reports`);
    const told = async () => (await world.mails(address)).some(({ subject }) => subject === "New recovery codes at Example");
    await until(told, "the owner was not told");
  });
});

test("several ways: each leads to the others and keeps the way back", async () => {
  const address = "dan@acme.example";
  await visit(browser, PHONE, async (page, context) => {
    await signIn(page, "dan");
    await addApp(page, "A phone with a name that is as long as names of phones get when nobody stops their owner from typing on");
    await page.getByRole("link", { name: "Add codes by e-mail" }).click();
    await page.getByLabel("E-mail address").fill(address);
    await page.getByRole("button", { name: "Continue" }).click();
    await enter(page, await mailedCode(address, 1));
    await page.waitForURL(`${base}/auth/account?done=factor_added`);
    await accessibleEverywhere(page, "factors-several");
    await makeCodes(page);
    await page.goto(`${base}/auth/account`);
    await accessibleEverywhere(page, "factors-all");
    // Taken away and added again: the address is known by now, and no other can be used.
    await page.getByText("Rename or remove").last().click();
    await page.getByRole("button", { name: "Remove Codes by e-mail" }).click();
    await page.waitForURL(`${base}/auth/account?done=factor_removed`);
    await page.getByRole("link", { name: "Add codes by e-mail" }).click();
    await page.getByText(address).waitFor();
    assert.equal(await page.locator("#email").count(), 0);
    await accessibleEverywhere(page, "factor-email-known");
    await page.getByRole("button", { name: "Continue" }).click();
    await enter(page, await mailedCode(address, 2));
    await page.waitForURL(`${base}/auth/account?done=factor_added`);
    await signOut(page);

    await signIn(page, "dan", "/reports");
    await accessibleEverywhere(page, "verify-several");
    await page.getByRole("link", { name: "Use a recovery code" }).click();
    await page.getByRole("button", { name: "E-mail a code to d***@acme.example" }).click();
    await page.getByText("A code is on its way to d***@acme.example.").waitFor();
    await accessibleEverywhere(page, "verify-several-email");
    await page.getByRole("link", { name: "Use your authenticator app" }).click();
    await page.getByLabel("Code from your authenticator app").waitFor();

    // Cancelled half way: nothing of it counts any more.
    const cookies = await context.cookies();
    await page.getByRole("button", { name: "Cancel signing in" }).click();
    await page.waitForURL(/\/auth\/login/);
    await accessibleEverywhere(page, "verify-cancelled");
    await context.addCookies(cookies);
    await page.goto(`${base}/auth/mfa/verify`);
    assert.equal(path(page), "/auth/login", "the cookie of the half sign-in is dead");

    // Five wrong codes end the tries with one way, not with the others.
    await signIn(page, "dan", "/reports");
    await page.getByRole("link", { name: "Use a recovery code" }).click();
    for (let n = 0; n < 5; n += 1) await refused(page, "AAAAAA-AAAAAA-AAAAAA-AAAAAA");
    await enter(page, "AAAAAA-AAAAAA-AAAAAA-AAAAAA");
    await page.locator("#form-error").waitFor();
    await accessibleEverywhere(page, "verify-spent");
    assert.equal(await page.locator("#code").count(), 0, "nothing is asked for that is not taken");
    await page.getByRole("button", { name: "E-mail a code to d***@acme.example" }).waitFor();
  });
});

test("too many wrong codes: no more are taken, the page says so, and there is a way out", async () => {
  await visit(browser, PHONE, async (page) => {
    await signIn(page, "fay");
    const app = await addApp(page, "Phone");
    await makeCodes(page);
    await signOut(page);
    // Five with the app and five recovery codes in each sign-in, twenty in a day.
    for (let n = 0; n < 2; n += 1) {
      await signIn(page, "fay", "/reports");
      for (let tries = 0; tries < 5; tries += 1) await refused(page, app.wrong());
      await page.getByRole("link", { name: "Use a recovery code" }).click();
      for (let tries = 0; tries < 5; tries += 1) await refused(page, "AAAAAA-AAAAAA-AAAAAA-AAAAAA");
      await page.getByRole("button", { name: "Cancel signing in" }).click();
      await page.waitForURL(/\/auth\/login/);
    }
    await signIn(page, "fay", "/reports");
    await enter(page, await app.next());
    await page.getByText(/For 24 hours not even the right one will work/).waitFor();
    await accessibleEverywhere(page, "verify-locked");
    assert.equal(await page.locator("#code").count(), 0, "nothing is asked for that is not taken");
    assert.equal(await page.getByText("Another way").count(), 0);
    await page.getByRole("button", { name: "Cancel signing in" }).click();
    await page.waitForURL(/\/auth\/login/);
    await accessibleEverywhere(page, "verify-locked-out");
  });
});

test("by keyboard alone, from the login page to a second factor and in with it", async () => {
  await visit(browser, DESK, async (page) => {
    const { keyboard } = page;
    await page.goto(`${base}/auth/login?next=/auth/account`);
    await hasFocus(page, "username");
    await keyboard.type("eve");
    await keyboard.press("Tab");
    await keyboard.type(PASSWORD);
    await keyboard.press("Enter");
    await page.waitForURL(`${base}/auth/account`);
    await tabTo(page, page.getByRole("link", { name: "Add an authenticator app" }));
    await keyboard.press("Enter");
    await page.getByRole("heading", { name: "Add an authenticator app" }).waitFor();
    await hasFocus(page, "name");
    await keyboard.type("Keys");
    await keyboard.press("Enter");
    await page.getByRole("img", { name: /QR code/ }).waitFor();
    await tabTo(page, page.locator("summary"));
    await keyboard.press("Enter");
    const app = new Authenticator(await page.locator(".secret").innerText());
    await tabTo(page, page.locator("#code"));
    await keyboard.type(await app.next());
    await keyboard.press("Enter");
    await page.waitForURL(`${base}/auth/account?done=factor_added`);
    await tabTo(page, page.getByRole("button", { name: /^Make (new )?recovery codes$/ }));
    await keyboard.press("Enter");
    await page.getByRole("heading", { name: "Your recovery codes" }).waitFor();
    const codes = await page.locator(".codes li").allTextContents();
    await tabTo(page, page.getByRole("link", { name: "I have kept them" }));
    await keyboard.press("Enter");
    await page.waitForURL(`${base}/auth/account`);
    await tabTo(page, page.getByRole("button", { name: "Sign out" }));
    await keyboard.press("Enter");
    await page.waitForURL(/\/auth\/login/);

    await page.goto(`${base}/reports`);
    await hasFocus(page, "username");
    await keyboard.type("eve");
    await keyboard.press("Tab");
    await keyboard.type(PASSWORD);
    await keyboard.press("Enter");
    await page.waitForURL(/\/auth\/mfa\/verify/);
    await hasFocus(page, "code");
    await keyboard.type(app.wrong());
    await keyboard.press("Enter");
    await page.locator("#code-error").waitFor();
    await tabTo(page, page.getByRole("link", { name: "Use a recovery code" }));
    await keyboard.press("Enter");
    await page.getByLabel("Recovery code", { exact: true }).waitFor();
    await hasFocus(page, "code");
    await keyboard.type(codes[0]);
    await keyboard.press("Enter");
    await page.waitForURL(`${base}/reports`);

    await page.goto(`${base}/auth/account`);
    await tabTo(page, page.getByText("Rename or remove"));
    await keyboard.press("Space");
    await tabTo(page, page.getByRole("button", { name: "Remove Keys" }));
    await keyboard.press("Enter");
    await page.waitForURL(`${base}/auth/account?done=factor_removed`);
  });
});

// -- what is looked at more closely --

/** Large enough to scan, dark on light, with a light edge: on a dark page, too. */
async function scannable(picture) {
  const { width, height } = await picture.boundingBox();
  assert.ok(width >= 180 && Math.abs(width - height) < 1, `${width} x ${height}`);
  const { paths, size } = await picture.evaluate((svg) => ({
    paths: [...svg.querySelectorAll("path")].map((path) => [getComputedStyle(path).fill, path.getAttribute("d")]),
    size: svg.viewBox.baseVal.width,
  }));
  const [[light, ground], [dark, modules]] = paths;
  assert.deepEqual([light, dark, ground], ["rgb(255, 255, 255)", "rgb(0, 0, 0)", `M0 0h${size}v${size}H0z`]);
  const runs = [...modules.matchAll(/M(\d+) (\d+)h(\d+)v1/g)].map((run) => run.slice(1).map(Number));
  assert.ok(runs.every(([x, y, length]) => x >= 4 && y >= 4 && x + length <= size - 4 && y < size - 4), "the quiet zone");
  const has = (x, y, length) => runs.some((run) => run[0] === x && run[1] === y && run[2] === length);
  // The upper edges of the three squares by which a scanner finds the code.
  assert.ok(has(4, 4, 7) && has(size - 11, 4, 7) && has(4, size - 11, 7), "the finder patterns");
}

/** Where oathtool is installed, it shows the same codes. */
function asOathtool(app) {
  const step = Authenticator.step();
  let shown;
  try {
    shown = oathtool(app.secret, step);
  } catch (error) {
    if (error.code === "ENOENT") return;
    throw error;
  }
  assert.equal(shown, app.own(step));
}
