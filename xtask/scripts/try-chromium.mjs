// Starts the browser named by the first argument on a page of its own; prints the browser's version when that shows.
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const server = createServer((request, response) => {
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end("<!doctype html><title>It works</title><h1>It works</h1>");
}).listen(0, "127.0.0.1");
await new Promise((listening) => server.once("listening", listening));

const browser = await chromium.launch({
  executablePath: process.argv[1],
  args: ["--no-sandbox", "--disable-background-networking"],
  timeout: 30_000,
});
try {
  const page = await browser.newPage();
  await page.goto(`http://localhost:${server.address().port}/`);
  const heading = await page.locator("h1").boundingBox();
  if ((await page.title()) !== "It works" || !(heading?.height > 10)) {
    throw new Error("The browser started, but did not show the page.");
  }
  console.log(browser.version());
} finally {
  await browser.close();
  server.close();
}
