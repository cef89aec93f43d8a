// What the browser tests share: the example application with a store of its own, a browser, and what holds on every page.
//
// `cargo xtask test` runs them on one example application, with a file for its store, which prints its mails. By the environment
// they run on anything else:
//
// IAM_TEST_APP_SERVER   an administrator's URL without a database, mysql://root:password@127.0.0.1:3306: each start makes a
//                       database of its own there, by the program `mysql`, and drops it in the end
// IAM_TEST_APP_ENV      further settings of the application, as JSON: {"SMTP_URL": "smtp://..."}
// IAM_TEST_APP_MAILS    where its mails come to light when it does not print them: GET {this}/mails answers, as JSON,
//                       [{"to": ["amy@acme.example"], "subject": "...", "text": "..."}], oldest first
// IAM_TEST_OATHTOOL     1: the program `oathtool` is everybody's authenticator
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const require = createRequire(join(process.env.IAM_BROWSER_MODULES, "x.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core"), "utf8");
const shots = process.env.IAM_TEST_SCREENSHOTS;

export const PASSWORD = "a long pass phrase";

/** Where the application is, which each file of tests starts once: paths alone lead there. */
let site;

/** Starts the application, with these people and what else is set for these tests, and a browser. */
export async function start(users, settings = {}) {
  const folder = mkdtempSync(join(tmpdir(), "iam-browser-"));
  const port = await freePort();
  const base = `http://localhost:${port}`;
  const database = databaseOnServer(`iam_browser_${process.pid}_${port}`);
  const env = {
    PATH: process.env.PATH,
    ...JSON.parse(process.env.IAM_TEST_APP_ENV || "{}"),
    ...settings,
    ...(database && { IAM_DATABASE_URL: database.url }),
    IAM_LISTEN: `127.0.0.1:${port}`,
    IAM_DEMO_USERS: users,
  };
  const app = spawn(process.env.IAM_TEST_APP, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "", logged = "";
  const ended = new Promise((resolve) => {
    app.on("exit", resolve).on("error", (error) => { said += error.message; resolve(); });
  });
  app.stderr.setEncoding("utf8").on("data", (text) => { said += text; });
  app.stdout.setEncoding("utf8").on("data", (text) => { logged += text; });
  const stop = async (browser) => {
    await browser?.close();
    app.kill();
    await ended;
    database?.drop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const mails = await mailsOf(() => said);
    await until(() => fetch(`${base}/readyz`).then((r) => r.ok, () => false), () => `${base} does not answer: ${said}`);
    const browser = await chromium.launch({
      executablePath: process.env.IAM_TEST_CHROMIUM,
      args: ["--no-sandbox", "--disable-background-networking"],
    });
    site = base;
    return { base, browser, mails, logged: () => logged, stop: () => stop(browser) };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A new database of this name on the server that the environment names, if it names one. */
function databaseOnServer(name) {
  if (!process.env.IAM_TEST_APP_SERVER) return undefined;
  const url = new URL(process.env.IAM_TEST_APP_SERVER);
  const [user, password] = [url.username, url.password].map(decodeURIComponent);
  const client = ["--no-defaults", `--host=${url.hostname}`, `--port=${url.port || 3306}`, `--user=${user}`];
  const env = { PATH: process.env.PATH, MYSQL_PWD: password };
  const run = (sql) => execFileSync("mysql", [...client, "-e", sql], { env, stdio: ["ignore", "ignore", "inherit"] });
  run(`CREATE DATABASE ${name}`);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`DROP DATABASE ${name}`) };
}

/** What asks for the mails that the application sent to an address, oldest first. */
async function mailsOf(said) {
  const url = process.env.IAM_TEST_APP_MAILS;
  if (!url) {
    const framed = /^\+-- email to (\S+): (.*)\n((?:\| .*\n|\|\s*\n)*)\+--$/gm;
    return (address) => [...said().matchAll(framed)]
      .filter(([, to]) => to === address)
      .map(([, , subject, body]) => ({ subject, text: body.replaceAll(/^\| ?/gm, "") }));
  }
  const all = async () => (await fetch(`${url}/mails`)).json();
  // What an application before this one sent is none of its own.
  const older = (await all()).length;
  return async (address) => (await all()).slice(older).filter(({ to }) => to.includes(address));
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks again until there is an answer, and gives it. */
export async function until(ask, complaint, time = 30_000) {
  const end = Date.now() + time;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() >= end) assert.fail(typeof complaint === "string" ? complaint : complaint());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A browser of somebody's own, which must have nothing to complain about. */
export async function visit(browser, options, run) {
  const context = await browser.newContext({ baseURL: site, ...options });
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

/** Whether what has this id has the focus: a browser gives it with the first picture of the page, which may come after its loading. */
export function hasFocus(page, id) {
  const has = () => page.evaluate((id) => document.activeElement?.id === id, id);
  return until(has, `#${id} does not have the focus`, 5_000);
}

/** Nothing that axe-core objects to, nothing that is too wide. */
export async function accessible(page, name) {
  // The page's policy allows no scripts, as it should: the checker comes in by the debugger.
  const client = await page.context().newCDPSession(page);
  await client.send("Runtime.evaluate", { expression: axe });
  const { result } = await client.send("Runtime.evaluate", {
    expression: "axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)])))",
    awaitPromise: true,
    returnByValue: true,
  });
  await client.detach();
  assert.deepEqual(JSON.parse(result.value), [], name);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `${name} is ${overflow}px too wide`);
  if (shots) await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

/** The same on a desk, on a phone and on a narrow phone, in light and in dark. */
export async function accessibleEverywhere(page, name) {
  const before = page.viewportSize();
  for (const [width, height] of [[1280, 800], [390, 844], [320, 640]]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ["light", "dark"]) {
      // Colours that are on their way are none to judge.
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await accessible(page, `${name}-${width}-${colorScheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  await page.setViewportSize(before);
}
