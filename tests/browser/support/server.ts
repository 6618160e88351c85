import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';

/** A server on the loopback address. */
export interface TestServer {
  readonly address: string;
  close(): Promise<void>;
}

/** What is served: folders by the path they are found under, the longest first; and answers of a kind that no folder gives. */
export interface Site {
  readonly folders: Readonly<Record<string, string>>;
  readonly answers?: Readonly<Record<string, RequestListener>>;
  /** Whether the pages are cross-origin isolated (COOP and COEP). */
  readonly isolated?: boolean;
}

/** Nothing but the server's own files runs or loads. */
const STRICT_POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:";

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/** Serves a site under a strict policy. */
export async function serve(site: Site): Promise<TestServer> {
  const server = createServer((request, response) => {
    response.setHeader('content-security-policy', STRICT_POLICY);
    if (site.isolated === true) {
      response.setHeader('cross-origin-opener-policy', 'same-origin');
      response.setHeader('cross-origin-embedder-policy', 'require-corp');
    }
    const path = decodeURIComponent(new URL(request.url!, 'http://localhost').pathname);
    const answer = site.answers?.[path];
    if (answer !== undefined) answer(request, response);
    else void sendFile(fileAt(site, path), response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

function fileAt({ folders }: Site, path: string): string | undefined {
  const prefix = Object.keys(folders)
    .sort((one, other) => other.length - one.length)
    .find((prefix) => path.startsWith(prefix));
  if (prefix === undefined) return undefined;
  const rest = normalize(`/${path.slice(prefix.length)}`);
  return join(folders[prefix]!, rest.endsWith('/') ? `${rest}index.html` : rest);
}

async function sendFile(file: string | undefined, response: Parameters<RequestListener>[1]): Promise<void> {
  const found = file === undefined ? undefined : await stat(file).catch(() => undefined);
  if (file === undefined || !found?.isFile()) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found');
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-length': found.size });
  createReadStream(file).pipe(response);
}
