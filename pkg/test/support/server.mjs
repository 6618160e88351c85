import { createServer } from 'node:http';

/**
 * Serves on the loopback address for the length of a test.
 *
 * @param {import('node:test').TestContext} t
 * @param {(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => void} handler
 * @returns {Promise<{ url: (path: string) => URL, requests: import('node:http').IncomingMessage[] }>}
 */
export async function serve(t, handler) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    handler(request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: (path) => new URL(path, `http://127.0.0.1:${server.address().port}/`) };
}

/** A handler that serves files from an object of path to content, and 404 for all else. */
export function files(contents) {
  return (request, response) => {
    const content = contents[new URL(request.url, 'http://localhost').pathname];
    if (content === undefined) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not found');
      return;
    }
    response.writeHead(200, { 'content-length': Buffer.byteLength(content) }).end(content);
  };
}
