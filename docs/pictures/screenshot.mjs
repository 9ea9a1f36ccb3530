// A picture of a part of a web page: node screenshot.mjs PAGE OUT WIDTH HEIGHT
//
// Run in a folder with `npm install puppeteer-core @sparticuz/chromium`, which brings a browser.
import { createRequire } from "node:module";
import path from "node:path";

const [page, out, width, height] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), "package.json"));
const { default: chromium } = await import(require.resolve("@sparticuz/chromium"));
const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox"],
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const tab = await browser.newPage();
await tab.setViewport({ width: Number(width), height: Number(height) });
await tab.goto(page);
await new Promise((done) => setTimeout(done, 2000)); // the frames are decoded
await tab.screenshot({ path: out });
await browser.close();
