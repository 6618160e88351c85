import type { JSHandle, Page } from '@playwright/test';

import type { Model, Result } from '../pages/models.js';
import type { Library } from './test.ts';

/** Runs models with the package that a page has imported; each in a worker, or, which saves time with small ones, all in the page's thread. */
export async function runInPage(
  library: JSHandle<Library>,
  page: Page,
  origin: string,
  models: Model[],
  device: 'wasm' | 'webgpu',
  worker: boolean,
): Promise<Result[]> {
  const module = await page.evaluateHandle(
    (address) => import(address) as Promise<typeof import('../pages/models.js')>,
    `${origin}/tests/browser/pages/models.js`,
  );
  return module.evaluate(
    ({ packageEngine, runModels }, { library, models, device, worker }) => runModels(models, packageEngine(library, device, worker)),
    { library, models, device, worker },
  );
}
