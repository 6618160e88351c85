// Serves the package, the models and the bench pages on the loopback address.

import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';

const FOLDERS = ['benches', 'models', join('pkg', 'dist'), join('tests', 'browser', 'fixtures')];

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

const ISOLATION = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

/** Serves the folders below `root` on any free port, on request cross-origin isolated; `close` ends it. */
export async function startServer(root, { isolated }) {
  const server = createServer((request, response) => {
    const file = fileOf(root, new URL(request.url, 'http://localhost').pathname);
    const stat = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false });
    if (!stat?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    const headers = { 'content-type': type, 'content-length': stat.size, 'cache-control': 'no-store', ...(isolated && ISOLATION) };
    response.writeHead(200, headers);
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The file that an address names, or undefined outside the folders served. */
function fileOf(root, pathname) {
  const path = normalize(decodeURIComponent(pathname)).slice(1);
  return FOLDERS.some((folder) => path.startsWith(folder + sep)) ? join(root, path) : undefined;
}
