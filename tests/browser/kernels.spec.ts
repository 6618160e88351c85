// The tables of cases of kernels and shaders, inside the WebAssembly that a browser compiled.

import { expect, type JSHandle, type Page } from '@playwright/test';

import { test, type Variant } from './support/test.ts';

/** What a module that tests itself exports; each function gives a line per failure. */
interface SelfTest {
  default(input: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  kernel_self_test(): string;
  gpu_self_test(): Promise<string>;
}

const VARIANTS: Variant[] = ['simd', 'relaxed', 'relaxed-threads'];

for (const variant of VARIANTS) {
  test(`kernels hold all their cases: ${variant}`, async ({ page, origin }) => {
    const module = await openSelfTest(page, origin, variant);
    expect(await module.evaluate((module) => module.kernel_self_test())).toBe('');
  });
}

test('shaders hold all their cases', { tag: '@webgpu' }, async ({ page, origin }) => {
  test.setTimeout(300_000);
  const module = await openSelfTest(page, origin, 'relaxed');
  expect(await module.evaluate((module) => module.gpu_self_test())).toBe('');
});

async function openSelfTest(page: Page, origin: string, variant: Variant): Promise<JSHandle<SelfTest>> {
  await page.goto(`${origin}/tests/browser/pages/blank.html`);
  return page.evaluateHandle(async (folder) => {
    const module = (await import(`${folder}/sottovoce.js`)) as SelfTest;
    await module.default({ module_or_path: await WebAssembly.compileStreaming(fetch(`${folder}/sottovoce_bg.wasm`)) });
    return module;
  }, `${origin}/pkg/dist/wasm/${variant}`);
}
