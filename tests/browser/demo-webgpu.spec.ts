// The demo page where the browser has WebGPU.

import { expect } from '@playwright/test';

import { test } from './support/test.ts';

test('the demo runs on WebGPU and says so', { tag: '@webgpu' }, async ({ page }) => {
  await page.goto('/');
  await expect(page.locator('html')).toHaveAttribute('data-state', 'ready', { timeout: 60_000 });
  await expect(page.locator('#device')).toHaveText('Graphics card (WebGPU)');
  await page.locator('#pii-input').fill('Maria Lopez lives in Austin.');
  await expect(page.locator('#pii-redacted')).toHaveText('[GIVEN_NAME] [SURNAME] lives in [CITY].', { timeout: 60_000 });
  await page.locator('#search-query').fill('paperwork with a deadline');
  await expect(page.locator('#search-results li p').first()).toHaveText(/^Car insurance/, { timeout: 60_000 });
});
