import { type SottovoceError, typedError } from './errors.js';
import type { Variant } from './features.js';
import { readFileUrl } from './node.js';

/** Modules compiled or being compiled in this page; a failure is forgotten, so that the next load tries again. */
const modules = new Map<Variant, Promise<WebAssembly.Module>>();

/**
 * The engine's WebAssembly, compiled once per page and shared by all workers.
 *
 * @throws `NetworkError` where the package's own file is not served, or may not be compiled
 */
export function engineModule(variant: Variant): Promise<WebAssembly.Module> {
  let module = modules.get(variant);
  if (module === undefined) {
    module = compile(engineUrl(variant)).catch((error: unknown) => {
      modules.delete(variant);
      throw error;
    });
    modules.set(variant, module);
  }
  return module;
}

/** The addresses are written out in full, as bundlers need them to be. */
function engineUrl(variant: Variant): URL {
  switch (variant) {
    case 'relaxed':
      return new URL('./wasm/relaxed/sottovoce_bg.wasm', import.meta.url);
    case 'simd':
      return new URL('./wasm/simd/sottovoce_bg.wasm', import.meta.url);
    case 'relaxed-threads':
      return new URL('./wasm/relaxed-threads/sottovoce_bg.wasm', import.meta.url);
    case 'simd-threads':
      return new URL('./wasm/simd-threads/sottovoce_bg.wasm', import.meta.url);
  }
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  if (url.protocol === 'file:') return WebAssembly.compile((await readFileUrl(url)) as Uint8Array<ArrayBuffer>);
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw notServed(url, 'could not be fetched', cause);
  }
  if (!response.ok) throw notServed(url, `answered ${response.status}`);
  const type = response.headers.get('content-type') ?? '';
  if (type.startsWith('text/html')) throw notServed(url, 'is a web page');
  try {
    return await (type === 'application/wasm'
      ? WebAssembly.compileStreaming(response)
      : WebAssembly.compile(await response.arrayBuffer()));
  } catch (cause) {
    throw typedError(
      'NetworkError',
      `the engine's WebAssembly could not be compiled: ${String(cause)}`,
      {
        doing: 'starting the engine',
        file: url.href,
        remedy:
          "a Content-Security-Policy must allow 'wasm-unsafe-eval' in script-src; the file must be the one that the package holds",
      },
      { cause },
    );
  }
}

function notServed(url: URL, what: string, cause?: unknown): SottovoceError {
  return typedError(
    'NetworkError',
    `the engine's own WebAssembly ${what}`,
    {
      doing: 'starting the engine',
      file: url.href,
      remedy:
        "serve the package's dist folder whole; an older Vite's development server needs `optimizeDeps: { exclude: ['sottovoce'] }`",
    },
    { cause },
  );
}
