// A double click on a line of 200 ms, wherever success gives the session another token: the browser gives up the first request and waits
// for the answer to the second one. It is always carried out, and its owner stays signed in.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PASSWORD, start, until, visit } from "./harness.mjs";
import { Authenticator, signIn, signOut } from "./people.mjs";

const PEOPLE = ["amy", "bea", "cat", "dan", "eve", "fay"];
const DESK = { viewport: { width: 1280, height: 1600 } };
/** Between the two clicks, in milliseconds: the answer to the first is never there yet. */
const GAPS = [0, 20, 60, 120];

let world, base, browser;

before(async () => {
  world = await start(PEOPLE.map((name) => `${name}:${PASSWORD}:admin@acme`).join());
  ({ base, browser } = world);
});

after(() => world?.stop());

/** Runs as somebody on a slow line. */
function slowly(run) {
  return visit(browser, DESK, async (page, context) => {
    const client = await context.newCDPSession(page);
    await client.send("Network.enable");
    const line = { offline: false, latency: 200, downloadThroughput: -1, uploadThroughput: -1 };
    await client.send("Network.emulateNetworkConditions", line);
    await run(page);
  });
}

/** Clicks twice, so that the form is sent twice; then the page is to be this one, and its reader still signed in. */
async function twice(page, button, gap, path) {
  const box = await button.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const sent = [], answers = [];
  const post = (request) => { if (request.method() === "POST") sent.push(request); };
  const answer = (response) => { if (response.request().method() === "POST") answers.push(response.status()); };
  page.on("request", post).on("response", answer);
  await page.mouse.click(x, y);
  await new Promise((resolve) => setTimeout(resolve, gap));
  await page.mouse.click(x, y);
  const what = () => `after ${gap} ms: ${page.url()}, sent ${sent.length}, answered ${answers}`;
  // Not waitForURL: that one takes the first request, which the browser gave up, for the end.
  await until(() => page.url() === `${base}${path}`, what, 20_000);
  page.off("request", post).off("response", answer);
  // Clicks that follow each other at once may make one request.
  assert.equal(sent.length, gap ? 2 : sent.length, what());
  assert.deepEqual(answers.filter((status) => status !== 303), [], what());
  await page.waitForLoadState();
  await page.goto("/auth/account");
  assert.equal(page.url(), `${base}/auth/account`, `${what()}: signed out`);
}

test("a change of password", async () => {
  for (const [n, gap] of GAPS.entries()) {
    await slowly(async (page) => {
      await signIn(page, PEOPLE[n]);
      await page.fill("#current-password", PASSWORD);
      await page.fill("#new-password", "quite another pass phrase");
      await twice(page, page.getByRole("button", { name: "Change password" }), gap, "/auth/account?done=password");
    });
  }
});

test("proving again who one is", async () => {
  await slowly(async (page) => {
    await signIn(page, "eve");
    for (const gap of [...GAPS, ...GAPS, ...GAPS]) {
      await page.goto("/auth/reauthenticate?next=/reports");
      await page.fill("#password", PASSWORD);
      await twice(page, page.getByRole("button", { name: "Confirm" }), gap, "/reports");
    }
  });
});

test("confirming an app, and the second step of signing in", async () => {
  for (const [who, gaps] of [["eve", GAPS.slice(0, 3)], ["fay", [GAPS[3], GAPS[0], GAPS[1]]]]) {
    await slowly(async (page) => {
      await signIn(page, who);
      await page.getByRole("link", { name: "Add an authenticator app" }).click();
      await page.getByLabel("Name").fill("Phone");
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByText("I cannot scan it").click();
      const app = new Authenticator(await page.locator(".secret").textContent());
      const confirm = page.getByRole("button", { name: "Confirm", exact: true });
      await page.fill("#code", await app.next());
      await twice(page, confirm, gaps[0], "/auth/account?done=factor_added");
      for (const gap of gaps.slice(1)) {
        await signOut(page);
        await signIn(page, who, "/reports");
        await page.fill("#code", await app.next());
        await twice(page, confirm, gap, "/reports");
      }
    });
  }
});
