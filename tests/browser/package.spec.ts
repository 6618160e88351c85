// The npm package as its users get it: what the tarball holds, built into a page by Vite, and in a page without a bundler.

import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, type Page } from '@playwright/test';

import { collectComplaints, recordRequests } from './support/complaints.ts';
import { serve } from './support/server.ts';
import { test } from './support/test.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const PACKAGE = join(REPOSITORY, 'pkg');
const VITE_TEMPLATE = join(REPOSITORY, 'tests/bundlers/vite');

const TEXTS = ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json'];
const ENGINE_FILES = ['sottovoce.d.ts', 'sottovoce.js', 'sottovoce_bg.wasm', 'sottovoce_bg.wasm.d.ts'];

/** Files of onnxruntime-common that the package's own modules import. */
const VENDOR = /^dist\/vendor\/onnxruntime-common\/(?:LICENSE|[\w-]+\.js|[\w-]+\.d\.ts)$/;

interface Packed {
  filename: string;
  files: { path: string }[];
}

test('the tarball holds what the package needs and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sottovoce-pack-'));
  try {
    const { files } = await pack(folder);
    const own = files.filter((path) => !VENDOR.test(path)).sort();
    expect(own).toEqual((await expectedFiles()).sort());
    expect(files).toContain('dist/vendor/onnxruntime-common/LICENSE');
    expect(files).toContain('dist/vendor/onnxruntime-common/tensor.js');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a Vite project that installs the tarball builds and runs under a strict policy', async ({ page }) => {
  const folder = await mkdtemp(join(tmpdir(), 'sottovoce-vite-'));
  const project = join(folder, 'project');
  await cp(VITE_TEMPLATE, project, { recursive: true });
  const { tarball } = await pack(folder);
  await npm(project, 'install', '--ignore-scripts', '--no-audit', '--no-fund', tarball);
  await npm(project, 'run', 'build');
  const server = await serve({ folders: { '/': join(project, 'dist'), '/models/': join(REPOSITORY, 'models') } });
  try {
    await expectEmbedding(page, `${server.address}/`);
  } finally {
    await server.close();
    await rm(folder, { recursive: true });
  }
});

test('a page without a bundler runs under a strict policy', async ({ page, origin }) => {
  await expectEmbedding(page, `${origin}/tests/browser/pages/plain.html`);
});

test('a page that is cross-origin isolated runs, on several threads', async ({ page }) => {
  const server = await serve({ folders: { '/': REPOSITORY }, isolated: true });
  try {
    await expectEmbedding(page, `${server.address}/tests/browser/pages/plain.html`);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  } finally {
    await server.close();
  }
});

/** Expects a page to load the model and to embed a text without a request and without a complaint. */
async function expectEmbedding(page: Page, address: string): Promise<void> {
  const complaints = await collectComplaints(page);
  const requests = recordRequests(page.context());
  const response = await page.goto(address);
  expect(response!.headers()['content-security-policy']).toContain("script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'");
  await expect.poll(async () => [await page.locator('html').getAttribute('data-state'), ...complaints], { timeout: 60_000 }).toEqual(['ready']);
  const isolatedCores = () => (crossOriginIsolated ? navigator.hardwareConcurrency : 1);
  expect(page.workers().length).toBe(Math.min(4, await page.evaluate(isolatedCores)));
  expect(requests.filter((request) => !request.startsWith(new URL(address).origin) && !request.startsWith('data:'))).toEqual([]);
  const loaded = requests.length;
  await page.getByRole('button').click();
  await expect(page.getByRole('status')).toHaveText('384 numbers', { timeout: 30_000 });
  expect(requests.slice(loaded)).toEqual([]);
  expect(complaints).toEqual([]);
}

/** Packs the package into a folder. */
async function pack(folder: string): Promise<{ tarball: string; files: string[] }> {
  const output = await npm(PACKAGE, 'pack', '--json', '--pack-destination', folder);
  const [packed] = JSON.parse(output) as [Packed];
  return { tarball: join(folder, packed.filename), files: packed.files.map(({ path }) => path) };
}

/** The files that the package's sources and its two engines give. */
async function expectedFiles(): Promise<string[]> {
  const sources = (await readdir(join(PACKAGE, 'src'))).filter((name) => name.endsWith('.ts')).map((name) => name.slice(0, -'.ts'.length));
  const engines = ['relaxed', 'simd', 'relaxed-threads', 'simd-threads'].flatMap((variant) => ENGINE_FILES.map((file) => `dist/wasm/${variant}/${file}`));
  return [...TEXTS, ...sources.flatMap((name) => [`dist/${name}.js`, `dist/${name}.d.ts`]), ...engines];
}

async function npm(folder: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('npm', args, { cwd: folder, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}
