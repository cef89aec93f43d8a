// A fresh proof for one purpose, in a real browser: a page leads to the code and back, what was to be sent is sent once whatever is
// clicked twice, opened twice or gone back to, and what is approved is what is paid. The host's log tells what was paid.
//
// Everybody has an authenticator of their own and needs three codes at most: so many can be had without waiting for the clock.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PASSWORD, accessible, accessibleEverywhere, hasFocus, start, until, visit } from "./harness.mjs";
import { Authenticator, addApp, enter, signIn, tabTo } from "./people.mjs";

const PEOPLE = ["ann", "ben", "cal", "dee", "eli", "fay", "gil", "hal", "ida", "jon"];
const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, colorScheme: "dark" };

let world, browser;

before(async () => {
  world = await start([...PEOPLE.map((name) => `${name}:${PASSWORD}:admin@acme`), `kim:${PASSWORD}:@acme`].join());
  ({ browser } = world);
});

after(() => world?.stop());

// -- what people do --

const path = (page) => new URL(page.url()).pathname;
const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true });
const send = (page) => page.getByRole("button", { name: "Send", exact: true });
const notSentAgain = (page) => heading(page, "This was not sent again").waitFor();

/** Signs in and adds an authenticator app. */
async function withApp(page, name) {
  await signIn(page, name);
  return addApp(page, "Phone");
}

/** Goes to the payroll by way of the code that it asks for. */
async function toPayroll(page, app) {
  await page.goto("/payroll");
  await page.waitForURL("/auth/mfa/verify?purpose=payroll&next=/payroll");
  await enter(page, await app.next());
  await page.waitForURL("/payroll");
}

/** Fills in the host's form and sends it. */
async function pay(page, amount, payee) {
  await page.getByLabel("Amount").fill(amount);
  await page.getByLabel("Payee").fill(payee);
  await page.getByRole("button", { name: "Pay" }).click();
}

/** Sends the host's form, which waits for the code; ends where it is shown once more before it is sent. */
async function payLater(page, app, amount, payee) {
  await pay(page, amount, payee);
  await page.waitForURL(/\/auth\/mfa\/verify\?resume=/);
  await enter(page, await app.next());
  await page.waitForURL(/\/auth\/mfa\/resume\//);
  await heading(page, "Send it now?").waitFor();
}

const paid = (page, what) => page.getByRole("listitem").filter({ hasText: new RegExp(`^${what}$`) }).count();

/** Payments of this kind (`12 EUR to Dirk`), as the service's own log tells: no page shows them without a code. */
const payments = (what) => {
  const [amount, payee] = what.split(" to ").map((value) => JSON.stringify(value));
  // Without the colours of a terminal.
  const log = world.logged().replace(/\x1b\[[0-9;]*m/g, "");
  return log.split("\n").filter((line) => / paid ledger=/.test(line) && line.includes(` amount=${amount} payee=${payee}`)).length;
};

const facts = (page) => page.locator("dl.sent").evaluate((list) => {
  const texts = (tag) => [...list.querySelectorAll(tag)].map((element) => element.textContent);
  const values = texts("dd");
  return Object.fromEntries(texts("dt").map((name, n) => [name, values[n]]));
});

// -- the tests --

for (const [name, width, colorScheme] of [["ann", 1280, "light"], ["ben", 390, "dark"], ["cal", 320, "light"]]) {
  test(`a page leads to the code and back, by keyboard alone (${width} px, ${colorScheme})`, async () => {
    await visit(browser, { viewport: { width, height: 800 }, colorScheme }, async (page) => {
      const { keyboard } = page;
      const app = await withApp(page, name);
      await page.goto("/");
      await tabTo(page, page.getByRole("link", { name: "Payroll" }));
      await keyboard.press("Enter");
      await page.waitForURL("/auth/mfa/verify?purpose=payroll&next=/payroll");
      await hasFocus(page, "code");
      await page.getByText("To go on, confirm once more that it is you. This is for: payroll.").waitFor();
      if (name === "ann") await accessibleEverywhere(page, "purpose-code");
      else await accessible(page, `purpose-code-by-keyboard-${width}-${colorScheme}`);
      if (name !== "ann") {
        await keyboard.type(app.wrong());
        await keyboard.press("Enter");
        await page.locator("#code-error").waitFor();
        await hasFocus(page, "code");
        await accessible(page, `purpose-code-wrong-${width}-${colorScheme}`);
      }
      await keyboard.type(await app.next());
      await keyboard.press("Enter");
      await page.waitForURL("/payroll");
      await heading(page, "Payroll").waitFor();
      // For a while it is not asked for again.
      await page.reload();
      assert.equal(path(page), "/payroll");

      if (name !== "ann") return;
      // Back to the code, which would be asked for once more: there is a way on without it.
      await page.goBack();
      await page.waitForURL(/\/auth\/mfa\/verify/);
      await tabTo(page, page.getByRole("link", { name: "Cancel" }));
      await keyboard.press("Enter");
      await page.waitForURL("/");
    });
  });
}

test("a form that has to wait for the code is shown again, and sent once", async () => {
  await visit(browser, DESK, async (page, context) => {
    const app = await withApp(page, "dee");
    await toPayroll(page, app);
    // Two pages are open. The proof is good for one payment ...
    const stale = await context.newPage();
    await stale.goto("/payroll");
    await pay(page, "11 EUR", "Dora");
    await heading(page, "Paid").waitFor();
    assert.equal(await paid(page, "11 EUR to Dora"), 1);
    await page.close();
    // ... and the second has to wait for another one: by keyboard.
    const note = Array.from({ length: 30 }, (_, n) => `${n} bottles`).join("\n");
    await stale.locator("form[action='/payroll']").evaluate((form, value) => {
      form.append(Object.assign(document.createElement("textarea"), { name: "what_the_payment_is_for", value }));
    }, note);
    await stale.getByLabel("Amount").fill("12 EUR");
    await stale.getByLabel("Payee").fill("Dirk & <b>Sons</b>");
    await stale.keyboard.press("Enter");
    await stale.waitForURL(/\/auth\/mfa\/verify\?resume=/);
    await hasFocus(stale, "code");
    await accessibleEverywhere(stale, "purpose-code-for-a-form");
    await stale.keyboard.type(await app.next());
    await stale.keyboard.press("Enter");
    await stale.waitForURL(/\/auth\/mfa\/resume\//);
    await heading(stale, "Send it now?").waitFor();
    assert.deepEqual(await facts(stale), { amount: "12 EUR", payee: "Dirk & <b>Sons</b>", what_the_payment_is_for: note });
    await tabTo(stale, stale.getByRole("group", { name: "what_the_payment_is_for" }));
    assert.equal(await payments("12 EUR to Dirk & <b>Sons</b>"), 0, "not yet");
    await accessibleEverywhere(stale, "resume");
    await tabTo(stale, send(stale));
    await stale.keyboard.press("Enter");
    await heading(stale, "Paid").waitFor();
    assert.equal(await paid(stale, "12 EUR to Dirk & <b>Sons</b>"), 1);

    // The back button: first to what was sent, then to the code.
    await stale.goBack();
    await notSentAgain(stale);
    assert.equal(await send(stale).count(), 0, "there is nothing to send it with");
    await accessibleEverywhere(stale, "not-sent-again");
    await stale.goBack();
    await notSentAgain(stale);
    assert.equal(await stale.locator("#code").count(), 0, "no code is asked for that leads nowhere");
    assert.equal(await payments("12 EUR to Dirk & <b>Sons</b>"), 1);
    assert.deepEqual((await stale.goto("/payroll")).status(), 200, "asked for the code again");
    assert.equal(path(stale), "/auth/mfa/verify");
  });
});

test("a double click on Send pays once, and the page says what happened", async () => {
  await visit(browser, DESK, async (page) => {
    const app = await withApp(page, "eli");
    await toPayroll(page, app);
    await pay(page, "21 EUR", "Ella");
    await heading(page, "Paid").waitFor();
    await payLater(page, app, "22 EUR", "Emil");
    await send(page).dblclick();
    await until(async () => path(page) === "/payroll", "it was not sent");
    const said = heading(page, "Paid").or(heading(page, "This was not sent again"));
    await said.waitFor();
    assert.equal(await payments("22 EUR to Emil"), 1);
  });
});

test("an answer that is slow makes nobody pay twice who clicks again", async () => {
  await visit(browser, DESK, async (page) => {
    const app = await withApp(page, "jon");
    await page.goto("/transfers");
    await payLater(page, app, "23 EUR", "Jo");
    // The first is carried out, but its answer does not come before the second click.
    let carriedOut, clicked;
    const arrived = new Promise((resolve) => { carriedOut = resolve; });
    const again = new Promise((resolve) => { clicked = resolve; });
    await page.route("**/transfers", async (route) => {
      const response = await route.fetch();
      carriedOut(response.status());
      await again;
      await route.fulfill({ response }).catch(() => {});
    }, { times: 1 });
    const { x, y, width, height } = await send(page).boundingBox();
    await page.mouse.click(x + width / 2, y + height / 2);
    assert.equal(await arrived, 200);
    await page.mouse.click(x + width / 2, y + height / 2);
    await notSentAgain(page);
    clicked();
    await tabTo(page, page.getByRole("link", { name: "Go to the start page" }));
    await page.keyboard.press("Enter");
    await page.waitForURL("/");
    assert.equal(await payments("23 EUR to Jo"), 1);
  });
});

test("of two tabs one sends, and the other says that it was sent", async () => {
  await visit(browser, PHONE, async (page, context) => {
    const app = await withApp(page, "fay");
    await toPayroll(page, app);
    await pay(page, "31 EUR", "Flo");
    await heading(page, "Paid").waitFor();
    await payLater(page, app, "32 EUR", "Finn");
    const second = await context.newPage();
    await second.goto(page.url());
    await heading(second, "Send it now?").waitFor();
    await send(page).click();
    await heading(page, "Paid").waitFor();
    await send(second).click();
    await notSentAgain(second);
    await accessible(second, "not-sent-again-second-tab");
    // And however often: the browser asks whether to send it once more, and does.
    await second.reload();
    await notSentAgain(second);
    assert.equal(await payments("32 EUR to Finn"), 1);
  });
});

test("what is approved is what is paid", async () => {
  await visit(browser, DESK, async (page) => {
    const app = await withApp(page, "gil");
    await page.goto("/transfers");
    await pay(page, "41 EUR", "Gina");
    await page.waitForURL(/\/auth\/mfa\/verify\?resume=/);
    await page.getByText("You are about to approve:").waitFor();
    assert.deepEqual(await facts(page), { amount: "41 EUR", payee: "Gina" });
    // The field has the focus: whoever hears the page is told there what they approve.
    const described = await page.locator("#code").evaluate((field) =>
      field.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).innerText).join(" "));
    assert.match(described, /This is for: transfer\.\s+You are about to approve:\s+amount\s+41 EUR\s+payee\s+Gina/);
    await accessibleEverywhere(page, "approve");
    await enter(page, await app.next());
    await page.waitForURL(/\/auth\/mfa\/resume\//);
    // Something in the browser changes what is sent.
    await page.locator("input[name=amount]").evaluate((field) => { field.value = "4100 EUR"; });
    await send(page).click();
    await page.waitForURL(/\/auth\/mfa\/verify\?resume=/);
    assert.deepEqual(await facts(page), { amount: "4100 EUR", payee: "Gina" }, "asked for that");
    assert.deepEqual([await payments("41 EUR to Gina"), await payments("4100 EUR to Gina")], [0, 0]);
    // The one that it took the place of is over.
    const changed = page.url();
    await page.goBack();
    await notSentAgain(page);
    await page.goto(changed);
    await enter(page, await app.next());
    await page.waitForURL(/\/auth\/mfa\/resume\//);
    assert.deepEqual(await facts(page), { amount: "4100 EUR", payee: "Gina" });
    await page.getByRole("link", { name: "Do not send" }).click();
    await page.waitForURL("/");
    assert.deepEqual([await payments("41 EUR to Gina"), await payments("4100 EUR to Gina")], [0, 0]);
  });
});

test("without a second step one is set up, and leads back", async () => {
  await visit(browser, PHONE, async (page) => {
    const { keyboard } = page;
    await signIn(page, "hal", "/transfers");
    // What was sent is not kept for so long, and the page says so.
    await pay(page, "51 EUR", "Hans");
    await heading(page, "Set up a second step first").waitFor();
    await accessibleEverywhere(page, "enrol-first");
    await page.getByRole("link", { name: "Set up a second step" }).click();
    await page.waitForURL(/\/auth\/mfa\/enrol/);

    await page.goto("/payroll");
    await page.waitForURL("/auth/mfa/enrol?methods=totp&next=/payroll");
    await accessibleEverywhere(page, "enrol");
    await tabTo(page, page.getByRole("link", { name: "Add an authenticator app" }));
    await keyboard.press("Enter");
    await heading(page, "Add an authenticator app").waitFor();
    await hasFocus(page, "name");
    await keyboard.type("Phone");
    await keyboard.press("Enter");
    await page.getByText("I cannot scan it").click();
    const app = new Authenticator(await page.locator(".secret").textContent());
    await enter(page, await app.next());
    // Setting it up is no proof for this.
    await page.waitForURL("/auth/mfa/verify?purpose=payroll&next=/payroll");
    await enter(page, await app.next());
    await page.waitForURL("/payroll");
    assert.equal(await payments("51 EUR to Hans"), 0);
  });
});

test("what can't be kept has to be sent again, and the page says so", async () => {
  await visit(browser, DESK, async (page) => {
    const app = await withApp(page, "ida");
    await toPayroll(page, app);
    await pay(page, "61 EUR", "Ina");
    await heading(page, "Paid").waitFor();
    for (const [name, change] of [
      ["with a file", (form) => { form.enctype = "multipart/form-data"; }],
      ["too large", (form) => { form.append(Object.assign(document.createElement("textarea"), { name: "note", value: "x".repeat(20_000) })); }],
    ]) {
      await page.goto("/transfers");
      await page.locator("form[action='/transfers']").evaluate((form) => { form.action = "/payroll"; });
      await page.locator("form[action='/payroll']").evaluate(change);
      await pay(page, "62 EUR", "Ivo");
      await heading(page, "Confirm first that it is you").waitFor();
      await page.getByText(/This was not carried out.*send it again/s).waitFor();
      await accessibleEverywhere(page, `send-it-again-${name.replaceAll(" ", "-")}`);
    }
    await tabTo(page, page.getByRole("link", { name: "Confirm that it is me" }));
    await page.keyboard.press("Enter");
    await page.waitForURL("/auth/mfa/verify?purpose=payroll");
    await enter(page, await app.next());
    await page.waitForURL("/");
    assert.equal(await payments("62 EUR to Ivo"), 0);
    await page.getByRole("link", { name: "Payroll" }).click();
    await heading(page, "Payroll").waitFor();
    await pay(page, "62 EUR", "Ivo");
    await heading(page, "Paid").waitFor();
    assert.equal(await payments("62 EUR to Ivo"), 1);
  });
});

test("who may not is told what is asked for", async () => {
  await visit(browser, DESK, async (page) => {
    await signIn(page, "kim", "/reports");
    await heading(page, "You do not have access to this").waitFor();
    await accessibleEverywhere(page, "forbidden-what-is-missing");
  });
});
