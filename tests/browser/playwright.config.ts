import { defineConfig } from '@playwright/test';

import { environment } from './support/environment.ts';

const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** WebGPU on SwiftShader, which needs no graphics card. Without these flags `requestAdapter()` gives null. */
export const WEBGPU_FLAGS = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan,WebGPU',
  '--use-webgpu-adapter=swiftshader',
  '--use-vulkan=swiftshader',
  '--ignore-gpu-blocklist',
];

export function browser(flags: readonly string[]) {
  return { launchOptions: { executablePath: environment('CHROME_BIN'), args: [...FLAGS, ...flags] } };
}

export default defineConfig({
  testDir: '.',
  testMatch: '*.spec.ts',
  outputDir: 'results',
  // One test at a time in each project: the software GPU has one thread, so that the two share the cores of a small machine.
  workers: 2,
  forbidOnly: true,
  // More than anything takes on a small and busy machine.
  timeout: 300_000,
  expect: { timeout: 60_000 },
  reporter: [['list'], ['./support/summary-reporter.ts']],
  use: { browserName: 'chromium', baseURL: environment('SOTTOVOCE_DEMO_URL') },
  projects: [
    { name: 'wasm', workers: 1, use: browser([]), grepInvert: /@webgpu/ },
    { name: 'webgpu', workers: 1, use: browser(WEBGPU_FLAGS), grep: /@webgpu/ },
  ],
});
