import { defineConfig } from '@playwright/test';

import base, { WEBGPU_FLAGS, browser } from './playwright.config.ts';

/** `cargo xtask agree`: all backends in one browser, in one test. */
export default defineConfig({
  ...base,
  testMatch: 'agree.ts',
  projects: [{ name: 'agree', use: browser(WEBGPU_FLAGS) }],
});
