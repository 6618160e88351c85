import { ByteCollector } from './bytes.js';
import { abortedError, invalidInput, SottovoceError, throwIfAborted, typedError } from './errors.js';
import { checkDigest } from './integrity.js';
import { type FileSystemError, readFileUrl } from './node.js';
import { Sha256 } from './sha256.js';

/** What to fetch, and how patiently. */
export interface DownloadRequest {
  /** Absolute address; the only one that is asked. */
  readonly url: URL;
  /** The file's name in errors. */
  readonly file: string;
  /** Files of kind `data` may hold any bytes; `model` and `json` cannot begin with `<`. */
  readonly kind: 'model' | 'json' | 'data';
  /** Stops the download. */
  readonly signal?: AbortSignal | undefined;
  /** Longest silence of the server, in ms, before the download counts as stalled. */
  readonly stallTimeout: number;
  /** Digest that the bytes must have, `sha256-…`. */
  readonly digest?: string | undefined;
  /** Called as bytes arrive; never with fewer bytes than before. `total` is `undefined` where it cannot be known. */
  readonly onProgress?: ((loaded: number, total: number | undefined) => void) | undefined;
}

/** Stall timeout where the caller sets none, in ms. */
export const DEFAULT_STALL_TIMEOUT = 30_000;

/** How often a broken connection is taken up again. */
const RETRIES = 3;
const FIRST_RETRY_DELAY = 250;

/** The most that one read of a byte stream takes. */
const READ_BYTES = 1024 * 1024;

/**
 * Resolves an address as the page would. In Node, where there is no page, it must be absolute.
 *
 * @throws `InvalidInput` for what is no address.
 */
export function resolveUrl(address: string | URL): URL {
  const page = globalThis.document?.baseURI ?? globalThis.location?.href;
  try {
    return new URL(address, page);
  } catch {
    throw invalidInput(`\`${address}\` is no address`, {
      remedy:
        page === undefined
          ? 'outside a page, pass an absolute URL such as file:///…, or bytes'
          : 'pass a URL or a path',
    });
  }
}

/**
 * Fetches one file.
 *
 * A connection that breaks is taken up where it broke when the server gave an ETag, else from the start, a few times.
 *
 * @returns the bytes in pieces, each owning its buffer
 * @throws `NetworkError` (not found, stalled, broken, truncated), `InvalidModel` (a web page instead of the file),
 * `IntegrityError`, `Aborted`
 */
export async function download(request: DownloadRequest): Promise<Uint8Array[]> {
  throwIfAborted(request.signal, doing(request));
  if (request.url.protocol === 'file:') return readLocalFile(request);
  const receipt = new Receipt(request);
  for (let attempt = 0; ; attempt++) {
    try {
      await receive(request, receipt);
      return receipt.finish();
    } catch (error) {
      if (!(error instanceof BrokenConnection)) throw error;
      if (attempt === RETRIES) throw brokenError(request, receipt, error);
      await delay(FIRST_RETRY_DELAY * 2 ** attempt, request);
    }
  }
}

/** Whether an error says that the server has no such file: a 404, or a single-page site's index in its place. */
export function isMissing(error: unknown): boolean {
  return error instanceof SottovoceError && missing.has(error);
}

const missing = new WeakSet<SottovoceError>();

/** The connection ended before the file did. */
class BrokenConnection extends Error {}

/** What has arrived of one file. */
class Receipt {
  /** Entity tag under which the server may continue the file. */
  etag: string | undefined;
  readonly #request: DownloadRequest;
  readonly #bytes = new ByteCollector();
  #hash: Sha256 | undefined;
  #reported = 0;

  constructor(request: DownloadRequest) {
    this.#request = request;
    this.restart();
  }

  get size(): number {
    return this.#bytes.size;
  }

  restart(): void {
    this.#bytes.clear();
    this.etag = undefined;
    this.#hash = this.#request.digest === undefined ? undefined : new Sha256();
  }

  append(bytes: Uint8Array, total: number | undefined): void {
    if (this.size === 0) refuseMarkup(bytes, this.#request);
    this.#bytes.append(bytes);
    this.#hash?.update(bytes);
    this.report(total);
  }

  /** Progress never goes back, not even when a download starts again. */
  report(total: number | undefined): void {
    this.#reported = Math.max(this.#reported, this.size);
    this.#request.onProgress?.(this.#reported, total !== undefined && total >= this.#reported ? total : undefined);
  }

  finish(): Uint8Array[] {
    if (this.size === 0) {
      throw typedError('NetworkError', 'the file is empty', {
        doing: doing(this.#request),
        file: this.#request.url.href,
        remedy: 'check what the server holds at this address',
      });
    }
    if (this.#hash !== undefined) checkDigest(this.#hash, this.#request.digest!, this.#request.file);
    this.#request.onProgress?.(this.size, this.size);
    return this.#bytes.finish();
  }
}

/** One request, read to its end into the receipt. */
async function receive(request: DownloadRequest, receipt: Receipt): Promise<void> {
  const watch = new StallWatch(request);
  try {
    const response = await ask(request, receipt, watch);
    checkStatus(request, response);
    const encoded = response.headers.get('content-encoding') !== null;
    if (!continues(response, receipt)) {
      receipt.restart();
      if (response.status === 206) throw new BrokenConnection('the server sent another part than the one asked for');
      if (!encoded) receipt.etag = strongTag(response);
    }
    const total = expectedTotal(response, receipt.size);
    await drain(response, receipt, total, watch);
    if (!encoded && response.type !== 'cors' && total !== undefined && receipt.size < total) {
      throw new BrokenConnection(`${receipt.size} of ${total} bytes`);
    }
  } finally {
    watch.stop();
  }
}

async function ask(request: DownloadRequest, receipt: Receipt, watch: StallWatch): Promise<Response> {
  const headers: Record<string, string> = {};
  const { etag } = receipt;
  if (receipt.size > 0 && etag !== undefined) {
    headers['Range'] = `bytes=${receipt.size}-`;
    headers['If-Range'] = etag;
    // A server that refuses these headers is asked for the whole file the next time.
    receipt.etag = undefined;
  }
  try {
    const response = await watch.guard(fetch(request.url, { headers, signal: watch.signal }));
    receipt.etag = etag;
    return response;
  } catch (error) {
    if (error instanceof SottovoceError) throw error;
    if (receipt.size > 0) throw new BrokenConnection('the server did not answer again', { cause: error });
    throw typedError(
      'NetworkError',
      'the server could not be reached',
      {
        doing: doing(request),
        file: request.url.href,
        remedy: "check the address and the connection; another site's server must allow this page by CORS headers",
      },
      { cause: error },
    );
  }
}

async function drain(
  response: Response,
  receipt: Receipt,
  total: number | undefined,
  watch: StallWatch,
): Promise<void> {
  if (response.body === null) return;
  const readNext = chunkReader(response.body);
  receipt.report(total);
  for (;;) {
    const { done, value } = await watch.guard(readNext()).catch((error: unknown) => {
      throw error instanceof SottovoceError ? error : new BrokenConnection('the connection broke', { cause: error });
    });
    if (done) return;
    receipt.append(value, total);
  }
}

/**
 * Reads a body chunk by chunk; a chunk is valid until the next is asked for. Byte streams fill one buffer over and over,
 * which is faster than a new one for each chunk. It is none of the receipt's: a stream that breaks during a read keeps
 * the buffer, and with it whatever else the buffer held.
 */
function chunkReader(body: ReadableStream<Uint8Array>): () => Promise<ReadableStreamReadResult<Uint8Array>> {
  const fillingReader = tryFillingReader(body);
  if (fillingReader === undefined) {
    const reader = body.getReader();
    return () => reader.read();
  }
  let buffer = new ArrayBuffer(READ_BYTES);
  return async () => {
    const result = await fillingReader.read(new Uint8Array(buffer));
    if (!result.done) buffer = result.value.buffer;
    return result;
  };
}

/** A reader that fills buffers given to it, which only byte streams have: not every browser's bodies are ones. */
function tryFillingReader(body: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | undefined {
  try {
    return body.getReader({ mode: 'byob' });
  } catch {
    return undefined;
  }
}

/** Whether a response goes on where the receipt ends, as its Content-Range says. */
function continues(response: Response, receipt: Receipt): boolean {
  if (receipt.size === 0 || response.status !== 206) return false;
  return response.headers.get('content-range')?.startsWith(`bytes ${receipt.size}-`) ?? false;
}

/**
 * Bytes in the whole file. Content-Length counts encoded bytes where the response is encoded, and then says nothing.
 * Another site's response may hide its encoding; a length that turns out too small is dropped while reading.
 */
function expectedTotal(response: Response, offset: number): number | undefined {
  const length = response.headers.get('content-length');
  if (length === null || response.headers.get('content-encoding') !== null) return undefined;
  return offset + Number(length);
}

function strongTag(response: Response): string | undefined {
  const tag = response.headers.get('etag');
  return tag === null || tag.startsWith('W/') ? undefined : tag;
}

function checkStatus(request: DownloadRequest, response: Response): void {
  const place = { doing: doing(request), file: request.url.href };
  if (!response.ok) {
    void response.body?.cancel();
    const remedy =
      response.status === 404 ? 'check the address' : 'check the address and the right to read it, or try again later';
    const error = typedError(
      'NetworkError',
      `the server answered ${response.status} ${response.statusText}`.trimEnd(),
      { ...place, remedy },
    );
    if (response.status === 404) missing.add(error);
    throw error;
  }
  if (response.headers.get('content-type')?.startsWith('text/html')) {
    void response.body?.cancel();
    throw markupError(request);
  }
}

/** Neither ONNX nor JSON begins with `<`; web pages and the error documents of object stores do. */
function refuseMarkup(bytes: Uint8Array, request: DownloadRequest): void {
  if (request.kind !== 'data' && bytes[0] === '<'.charCodeAt(0)) throw markupError(request);
}

function markupError(request: DownloadRequest): SottovoceError {
  const error = typedError('InvalidModel', 'the server answered with a web page instead of the file', {
    doing: doing(request),
    file: request.url.href,
    remedy: 'check the address; many servers answer unknown paths with their index page',
  });
  missing.add(error);
  return error;
}

function brokenError(request: DownloadRequest, receipt: Receipt, cause: BrokenConnection): SottovoceError {
  return typedError(
    'NetworkError',
    `the connection broke ${RETRIES + 1} times, at last after ${receipt.size} bytes: ${cause.message}`,
    {
      doing: doing(request),
      file: request.url.href,
      remedy: 'check the connection and whether the server holds the whole file, then load again',
    },
    { cause },
  );
}

/** Ends a request when the caller aborts, or when nothing happens for too long. */
class StallWatch {
  readonly #request: DownloadRequest;
  readonly #controller = new AbortController();
  readonly #abort = () => this.#controller.abort();

  constructor(request: DownloadRequest) {
    this.#request = request;
    request.signal?.addEventListener('abort', this.#abort);
  }

  /** For `fetch`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Waits for the server's next sign of life. */
  async guard<T>(next: Promise<T>): Promise<T> {
    let stalled = false;
    const timer = setTimeout(() => {
      stalled = true;
      this.#controller.abort();
    }, this.#request.stallTimeout);
    try {
      return await next;
    } catch (error) {
      throwIfAborted(this.#request.signal, doing(this.#request));
      throw stalled ? this.#stallError() : error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends whatever of the request is still under way. */
  stop(): void {
    this.#request.signal?.removeEventListener('abort', this.#abort);
    this.#controller.abort();
  }

  #stallError(): SottovoceError {
    return typedError('NetworkError', `nothing arrived for ${this.#request.stallTimeout} ms`, {
      doing: doing(this.#request),
      file: this.#request.url.href,
      remedy: 'check the connection, then load again',
    });
  }
}

function delay(ms: number, request: DownloadRequest): Promise<void> {
  return new Promise((resolve, reject) => {
    const { signal } = request;
    const stop = () => {
      clearTimeout(timer);
      reject(abortedError(doing(request), signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
  });
}

function doing(request: DownloadRequest): string {
  return `fetching ${request.file}`;
}

/** In Node, whose `fetch` knows no `file:` addresses. */
async function readLocalFile(request: DownloadRequest): Promise<Uint8Array[]> {
  const receipt = new Receipt(request);
  const bytes = await readFileUrl(request.url).catch((cause: FileSystemError) => {
    const error = typedError(
      'NetworkError',
      `the file could not be read: ${cause.message}`,
      {
        doing: doing(request),
        file: request.url.href,
        remedy: 'check the path and the right to read it',
      },
      { cause },
    );
    if (cause.code === 'ENOENT') missing.add(error);
    throw error;
  });
  if (bytes.length > 0) receipt.append(bytes, bytes.length);
  return receipt.finish();
}
