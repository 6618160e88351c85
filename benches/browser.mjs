// Chromium, and pages in it.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { chromium } from '@playwright/test';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

const QUIET_FLAGS = [
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** WebGPU on Chromium's own software adapter, which every machine has. */
const SOFTWARE_WEBGPU_FLAGS = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan,WebGPU',
  '--use-webgpu-adapter=swiftshader',
  '--use-vulkan=swiftshader',
  '--ignore-gpu-blocklist',
];

/** Starts a browser with an empty profile, with software WebGPU on request. */
export function launchBrowser({ webgpu = false } = {}) {
  const flags = webgpu ? [...QUIET_FLAGS, ...SOFTWARE_WEBGPU_FLAGS] : QUIET_FLAGS;
  return chromium.launch({ executablePath: browserPath(), chromiumSandbox: false, args: flags });
}

/**
 * Opens the page at an address with nothing cached, lets `use` work in it, and closes it with all its memory. An uncaught error of the
 * page is the run's error.
 */
export async function withPage(browser, address, use) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(0);
    const failure = new Promise((_, reject) => {
      page.once('pageerror', reject);
      page.once('crash', () => reject(new Error('the page crashed')));
    });
    const work = async () => {
      await page.goto(address);
      return use(page);
    };
    return await Promise.race([work(), failure]);
  } finally {
    await context.close();
  }
}

/** The browser that CHROME_BIN names, or the first found on the PATH. */
function browserPath() {
  if (process.env.CHROME_BIN) return process.env.CHROME_BIN;
  const folders = process.env.PATH.split(delimiter);
  const path = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync);
  if (path === undefined) throw new Error('no Chromium was found: install one, or name one in CHROME_BIN');
  return path;
}
