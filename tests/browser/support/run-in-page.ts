import type { JSHandle, Page } from '@playwright/test';

import type { Model, Result } from '../pages/models.js';
import type { Library } from './test.ts';

/** Runs models with the package that a page has imported. */
export async function runInPage(
  library: JSHandle<Library>,
  page: Page,
  origin: string,
  models: Model[],
  device: 'wasm' | 'webgpu',
): Promise<Result[]> {
  const module = await page.evaluateHandle(
    (address) => import(address) as Promise<typeof import('../pages/models.js')>,
    `${origin}/tests/browser/pages/models.js`,
  );
  return module.evaluate(
    ({ packageEngine, runModels }, { library, models, device }) => runModels(models, packageEngine(library, device)),
    { library, models, device },
  );
}
