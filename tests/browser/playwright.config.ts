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
  // One test at a time: they share the cores of a small machine, and some measure time.
  workers: 1,
  forbidOnly: true,
  timeout: 120_000,
  reporter: [['list'], ['./support/summary-reporter.ts']],
  use: { browserName: 'chromium', baseURL: environment('SOTTOVOCE_DEMO_URL') },
  projects: [
    { name: 'wasm', use: browser([]), grepInvert: /@webgpu/ },
    { name: 'webgpu', use: browser(WEBGPU_FLAGS), grep: /@webgpu/ },
  ],
});
