import { join } from 'node:path';

import { type JSHandle, type Page, test as base } from '@playwright/test';

import { environment } from './environment.ts';
import { serve } from './server.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');

/** What the npm package exports. */
export type Library = typeof import('../../../pkg/dist/index.js');

/** The build of the engine that a page takes. */
export type Variant = 'simd' | 'relaxed' | 'relaxed-threads';

/** A typed error as a page caught it. */
export interface Failure {
  name: string;
  code: string;
  message: string;
  doing: string | undefined;
  op: string | undefined;
  node: string | undefined;
  tensor: string | undefined;
  file: string | undefined;
  remedy: string | undefined;
}

declare global {
  /** In pages: the typed error that the work ends with; throws where it ends otherwise. */
  function failureOf(work: Promise<unknown>): Promise<Failure>;
}

interface Fixtures {
  /** Address of a server of the repository's root, cross-origin isolated for a variant with threads. */
  origin: string;
  /** `simd`: the page finds no relaxed SIMD, as in browsers that lack it. */
  variant: Variant;
  /** The npm package, imported into a page that holds nothing else. */
  library: JSHandle<Library>;
}

export const test = base.extend<Fixtures>({
  origin: async ({ variant }, use) => {
    if (!variant.endsWith('-threads')) return use(environment('SOTTOVOCE_ROOT_URL'));
    const server = await serve({ folders: { '/': REPOSITORY }, isolated: true });
    await use(server.address);
    await server.close();
  },
  variant: ['relaxed', { option: true }],
  library: async ({ page, origin, variant }, use) => {
    await use(await openLibrary(page, origin, variant));
  },
});

/** The npm package, imported into the page, which then holds nothing else. */
export async function openLibrary(page: Page, origin: string, variant: Variant): Promise<JSHandle<Library>> {
  await page.addInitScript(defineFailureOf);
  if (variant === 'simd') await page.addInitScript(hideRelaxedSimd);
  await page.goto(`${origin}/tests/browser/pages/blank.html`);
  return page.evaluateHandle((address): Promise<Library> => import(address), `${origin}/pkg/dist/index.js`);
}

function defineFailureOf(): void {
  globalThis.failureOf = async (work) => {
    const thrown = await work.then(
      () => new Error('the work should have failed'),
      (error: unknown) => error,
    );
    const { name, code, message, doing, op, node, tensor, file, remedy } = thrown as Failure;
    if (!(thrown instanceof Error) || typeof code !== 'string') throw thrown;
    return { name, code, message, doing, op, node, tensor, file, remedy };
  };
}

/** Makes modules that contain an opcode of relaxed SIMD (0xfd and 0x80 to 0x93, then 2) invalid in this page. */
function hideRelaxedSimd(): void {
  const validate = WebAssembly.validate;
  WebAssembly.validate = (source) => {
    const bytes = new Uint8Array(ArrayBuffer.isView(source) ? source.buffer : source);
    const isRelaxed = bytes.some((byte, at) => byte === 0xfd && bytes[at + 1]! >= 0x80 && bytes[at + 1]! <= 0x93 && bytes[at + 2] === 2);
    return !isRelaxed && validate(source);
  };
}
