import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { version } from '../dist/version.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const packed = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' }),
);
const names = [packed].flat()[0].files.map(({ path }) => path);

test('the version is the manifest’s', () => assert.equal(version, manifest.version));

test('the package holds what it needs and nothing else', () => {
  const allowed = [
    /^package\.json$/,
    /^README\.md$/,
    /^LICENSE-(MIT|APACHE)$/,
    /^dist\/[\w-]+\.(js|d\.ts)$/,
    /^dist\/vendor\/onnxruntime-common\/(LICENSE|[\w-]+\.(js|d\.ts))$/,
    /^dist\/wasm\/(?:relaxed|simd)(?:-threads)?\/sottovoce(_bg)?\.(js|d\.ts|wasm|wasm\.d\.ts)$/,
  ];
  for (const name of names)
    assert.ok(
      allowed.some((pattern) => pattern.test(name)),
      `${name} has no place in the package`,
    );
  assert.ok(names.includes('dist/vendor/onnxruntime-common/LICENSE'));
});

test('every import of the package, in code and in types, is relative and finds a file', () => {
  const imported = /(?:from|import)\s*\(?\s*'([^']+)'|new URL\('([^']+)', import\.meta\.url\)/g;
  for (const name of names.filter((name) => /^dist\/(vendor\/.*|[\w-]+)\.(js|d\.ts)$/.test(name))) {
    const text = readFileSync(join(root, name), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
    for (const [, module, address] of text.matchAll(imported)) {
      const path = module ?? address;
      assert.ok(path.startsWith('.'), `${name} imports ${path}`);
      const isType = name.endsWith('.d.ts');
      const target = normalize(join(dirname(name), isType ? path.replace(/\.js$/, '.d.ts') : path));
      if (target.startsWith(join('dist', 'wasm')) && !existsSync(join(root, 'dist/wasm'))) continue;
      assert.ok(names.includes(target.replaceAll('\\', '/')), `${name} imports ${path}, which is not packed`);
    }
  }
});

test('no dependency comes along at run time', () => {
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies'])
    assert.equal(manifest[kind], undefined);
  for (const range of Object.values(manifest.devDependencies)) assert.match(range, /^\d+\.\d+\.\d+$/);
  assert.doesNotMatch(readFileSync(join(root, 'package-lock.json'), 'utf8'), /"resolved"/);
});
