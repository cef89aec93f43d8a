// What people do with several tabs and the back button: in Chromium, over a line with 200 ms of latency.
import assert from "node:assert/strict";
import { createServer, request as forward } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PASSWORD, accessibleEverywhere, start, visit } from "./harness.mjs";
import { addApp, enter, signIn } from "./people.mjs";

const { chromium } = createRequire(join(process.env.IAM_BROWSER_MODULES, "x.js"))("playwright-core");

let world, browser, line, elsewhere, stranger;

/** A server that answers everything, on an origin of its own. */
function host(answer) {
  return new Promise((resolve) => {
    const server = createServer(answer);
    server.listen(0, "127.0.0.1", () => resolve({ server, port: server.address().port, base: `http://localhost:${server.address().port}` }));
  });
}

before(async () => {
  const hello = (_, response) => response.setHeader("content-type", "text/html").end("<h1>You have arrived</h1>");
  [elsewhere, stranger] = [await host(hello), await host(hello)];
  // The line between the browser and the application: slow, and for these tests it puts in what a host does.
  line = await host((request, response) => setTimeout(() => line.pass(request, response), 200));
  line.pass = (request, response) => {
    const { method, url, headers } = request;
    const passed = forward({ port: new URL(world.base).port, method, path: url, headers }, (answer) => {
      const changed = { ...answer.headers };
      // A host that lets browsers keep its page: going back shows it, whatever has come between.
      if (method === "GET" && url === "/reports" && answer.statusCode === 200) {
        changed["cache-control"] = "private, max-age=600";
      }
      // A host whose handler leads to a page of its own on another origin, once it has paid.
      const leads = line.leadsTo && method === "POST" && ["/payroll", "/auth/login"].includes(url);
      if (leads) {
        response.writeHead(303, { location: line.leadsTo });
        answer.resume().on("end", () => response.end());
      } else {
        response.writeHead(answer.statusCode, changed);
        answer.pipe(response);
      }
    });
    passed.on("error", () => response.destroy());
    request.pipe(passed);
  };
  world = await start(`amy:${PASSWORD}:admin@acme,bob:${PASSWORD}:@acme,eve:${PASSWORD}:admin@acme`, {
    IAM_BASE_URL: line.base,
    IAM_ALLOWED_ORIGINS: `${line.base},${elsewhere.base}`,
  });
  await world.browser.close();
  // As people have it: pages that were left are kept for the back button.
  browser = await chromium.launch({
    executablePath: process.env.IAM_TEST_CHROMIUM,
    args: ["--no-sandbox", "--disable-background-networking"],
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
});

after(async () => {
  await browser?.close();
  for (const one of [line, elsewhere, stranger]) one?.server.closeAllConnections(), one?.server.close();
  await world?.stop();
});

const by = (options = {}) => ({ baseURL: line.base, ...options });

test("the back button shows nothing after signing out, and all else stays", async () => {
  await visit(browser, by(), async (page, context) => {
    await signIn(page, "amy", "/reports");
    await page.evaluate(() => localStorage.setItem("host", "kept"));
    await context.addCookies([{ name: "sibling", value: "kept", domain: "localhost", path: "/" }]);
    await page.getByText("Signed in as amy of acme").waitFor();
    await page.goto("/auth/account");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    for (let back = 0; back < 2; back += 1) {
      await page.goBack();
      assert.equal(await page.getByText("amy").count(), 0, `${page.url()} shows who was here`);
      assert.equal(new URL(page.url()).pathname, "/auth/login");
    }
    const cookies = Object.fromEntries((await context.cookies()).map(({ name, value }) => [name, value]));
    assert.equal(cookies.sibling, "kept");
    assert.ok(cookies.iam_device, "the device stays known");
    assert.equal(await page.evaluate(() => localStorage.getItem("host")), "kept");
  });
});

test("a second tab with a form from before is led on, and the first goes on", async () => {
  await visit(browser, by(), async (page, context) => {
    const second = await context.newPage();
    for (const tab of [page, second]) await tab.goto("/auth/login?next=/reports");
    const fill = async (tab, name, password) => {
      await tab.fill("#username", name);
      await tab.fill("#password", password);
      await tab.getByRole("button", { name: "Sign in", exact: true }).click();
    };
    await fill(page, "amy", PASSWORD);
    await page.waitForURL("/reports");
    await fill(second, "amy", "not the password");
    await second.getByText("The user name or the password is not right").waitFor();
    // Whoever sends that form, sees who is signed in, and takes the token of the page.
    await second.goto("/auth/login?next=/reports");
    await second.getByRole("link", { name: "Continue" }).click();
    await second.waitForURL("/reports");
    await page.getByLabel("Title").fill("Written in the first tab");
    await page.getByRole("button", { name: "Add" }).click();
    await page.getByText("Added: Written in the first tab").waitFor();
  });
  await visit(browser, by(), async (page, context) => {
    const second = await context.newPage();
    for (const tab of [page, second]) await tab.goto("/auth/login?next=/reports");
    for (const tab of [page, second]) {
      await tab.fill("#username", "amy");
      await tab.fill("#password", PASSWORD);
      await tab.getByRole("button", { name: "Sign in", exact: true }).click();
      await tab.waitForURL("/reports");
      await tab.getByText("Signed in as amy of acme").waitFor();
    }
    await page.getByLabel("Title").fill("In the first tab once more");
    await page.getByRole("button", { name: "Add" }).click();
    await page.getByText("Added: In the first tab once more").waitFor();
  });
});

test("two clicks on the button sign in once, and lead on", async () => {
  await visit(browser, by(), async (page) => {
    await page.goto("/auth/login?next=/reports");
    await page.fill("#username", "amy");
    await page.fill("#password", PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).dblclick();
    await page.waitForURL("/reports");
    await page.getByText("Signed in as amy of acme").waitFor();
  });
});

test("a form that goes on may end at an allowed origin, and at no other", async () => {
  await visit(browser, by(), async (page) => {
    await signIn(page, "eve");
    const app = await addApp(page, "phone");
    await page.goto("/payroll");
    await enter(page, await app.next());
    await page.waitForURL("/payroll");
    // The first is paid by the proof that opened the page; the second needs one of its own.
    for (let n = 0; n < 2; n += 1) {
      await page.getByLabel("Amount").fill("100");
      await page.getByLabel("Payee").fill("bob");
      await page.getByRole("button", { name: "Pay" }).click();
      if (n === 0) await page.getByRole("heading", { name: "Paid", level: 1 }).waitFor();
    }
    await page.waitForURL(/\/auth\/mfa\/verify\?resume=/);
    await enter(page, await app.next());
    await page.waitForURL(/\/auth\/mfa\/resume\//);
    line.leadsTo = `${elsewhere.base}/thanks`;
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForURL(line.leadsTo);
    await page.getByRole("heading", { name: "You have arrived" }).waitFor();
    line.leadsTo = undefined;
  });
  // What is blocked is said in the console, which `visit` takes for a fault.
  const context = await browser.newContext(by());
  const page = await context.newPage();
  const blocked = page.waitForEvent("console", (message) => /form-action/.test(message.text()));
  await page.goto("/auth/login");
  line.leadsTo = `${stranger.base}/`;
  await page.fill("#username", "amy");
  await page.fill("#password", PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await blocked;
  line.leadsTo = undefined;
  assert.equal(new URL(page.url()).origin, line.base);
  await context.close();
});

test("a pasted code with a space is the code, and what is none says what to do", async () => {
  await visit(browser, by(), async (page) => {
    await signIn(page, "bob");
    const app = await addApp(page, "phone");
    await page.goto("/auth/account");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    await page.goto("/auth/login?next=/auth/account");
    await page.fill("#username", "\u3000bob\u00a0");
    await page.fill("#password", PASSWORD);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.waitForURL(/\/auth\/mfa\/verify/);
    await enter(page, "12345");
    await page.getByText("those have six digits").waitFor();
    await accessibleEverywhere(page, "verify-malformed");
    const code = await app.next();
    await enter(page, `${code.slice(0, 3)} ${code.slice(3)}`);
    await page.waitForURL("/auth/account");
  });
});

test("two cookies of the session's name are told", async () => {
  await visit(browser, by(), async (page, context) => {
    for (const [path, value] of [["/", "x".repeat(43)], ["/auth", "y".repeat(43)]]) {
      await context.addCookies([{ name: "iam_session", value, domain: "localhost", path }]);
    }
    await page.goto("/auth/login");
    await page.getByText("two different cookies named iam_session").waitFor();
    await accessibleEverywhere(page, "login-two-cookies");
  });
});
