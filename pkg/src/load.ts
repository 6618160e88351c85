import type { FileBytes } from './bytes.js';
import { abortedError, SottovoceError, throwIfAborted } from './errors.js';
import { DEFAULT_STALL_TIMEOUT, download, isMissing } from './fetch.js';
import type { EngineDevice, SessionInfo } from './glue.js';
import type { Host } from './host.js';
import { checkDigest, type ExpectedDigests } from './integrity.js';
import { withLinkedSignal } from './linked-signal.js';
import { type OpenedHost, openHost } from './open-host.js';
import type { ProgressReporter } from './progress.js';
import type { Commands } from './protocol.js';
import { Sha256 } from './sha256.js';

/** One file of a load. */
export interface LoadFile {
  /** Name in progress events, errors and the `integrity` option; for external data the path that the model gives it. */
  readonly name: string;
  /** An address to fetch, or the content. */
  readonly origin: { readonly url: URL } | { readonly bytes: FileBytes };
  /** The model itself, its external data, a file beside it, or what an earlier session saved of the model. */
  readonly kind: 'model' | 'data' | 'json' | 'artefact';
  /** Whether a file that does not exist is simply left out. */
  readonly optional?: boolean;
}

/** A load: its files, of which one is of kind `model`, and its settings. */
export interface LoadRequest {
  readonly files: readonly LoadFile[];
  /** Read first; model and external data are read only where it is of no use. */
  readonly artefact: LoadFile | undefined;
  readonly device: EngineDevice;
  readonly worker: boolean | undefined;
  /** Threads that compute; `undefined` or 0: as many as are of use. */
  readonly numThreads: number | undefined;
  readonly digests: ExpectedDigests;
  readonly progress: ProgressReporter;
  readonly signal: AbortSignal | undefined;
  /** Longest silence of a server, in ms. */
  readonly stallTimeout: number | undefined;
  /** The task to prepare, from the files by name; optional ones may be missing. */
  readonly prepare?: (files: ReadonlyMap<string, FileBytes>) => Commands['prepare']['input'];
}

type LoadInput = Commands['load']['input'];

const DOING = 'loading the model';

/** A loaded model: where it lives, and what it takes and gives. */
export interface Loaded {
  readonly host: Host;
  readonly info: SessionInfo;
}

/** Starts an engine while the files arrive, and loads the model into it. Whatever fails, nothing is left behind. */
export async function loadModel(request: LoadRequest): Promise<Loaded> {
  throwIfAborted(request.signal, DOING);
  return withLinkedSignal(request.signal, async (signal) => {
    const opening = openHost(request.worker, request.numThreads);
    try {
      const linked = { ...request, signal };
      const { model, beside } = divided(request.files);
      linked.progress.expect([request.artefact ?? model, beside].flat());
      const [files, info, { host }] = await Promise.all([readFiles(beside, linked), load(linked, model, opening), opening]);
      if (request.prepare !== undefined) await host.perform('prepare', request.prepare(files));
      return { host, info };
    } catch (error) {
      void opening.then(({ host }) => host.close(error as SottovoceError)).catch(() => {});
      throw error;
    }
  });
}

/** The files that an artefact stands for, and those beside them. */
function divided(files: readonly LoadFile[]): { model: LoadFile[]; beside: LoadFile[] } {
  const isOfModel = ({ kind }: LoadFile) => kind === 'model' || kind === 'data';
  return { model: files.filter(isOfModel), beside: files.filter((file) => !isOfModel(file)) };
}

/** Loads the artefact, or the model where there is none that is of use. */
async function load(request: LoadRequest, files: LoadFile[], opening: Promise<OpenedHost>): Promise<SessionInfo> {
  const { artefact, digests, device, progress } = request;
  if (artefact !== undefined) {
    const digest = digests.get(files.find(({ kind }) => kind === 'model')!.name);
    const bytes = await unlessUnusable(readFile(artefact, request));
    const opened = await opening;
    if (bytes !== undefined) {
      const input = { model: bytes, externalData: [], device, artefact: { digest } };
      const info = await unlessUnusable(perform(request, opened, input));
      if (info !== undefined) return info;
    }
    progress.giveUp(artefact.name);
    progress.expect(files);
  }
  const read = await readFiles(files, request);
  return perform(request, await opening, { ...modelOf(files, read), device });
}

async function perform(
  { signal }: LoadRequest,
  { host, module }: OpenedHost,
  input: Omit<LoadInput, 'module'>,
): Promise<SessionInfo> {
  throwIfAborted(signal, DOING);
  signal?.addEventListener('abort', () => void host.close(abortedError(DOING, signal)));
  return host.perform('load', { module, ...input });
}

/** What is wrong with an artefact that is not to be had, damaged, or of another model or build. */
const UNUSABLE: readonly string[] = ['NetworkError', 'IntegrityError', 'InvalidModel'];

async function unlessUnusable<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof SottovoceError && UNUSABLE.includes(error.code)) return undefined;
    throw error;
  }
}

function modelOf(
  files: readonly LoadFile[],
  read: ReadonlyMap<string, FileBytes>,
): Pick<LoadInput, 'model' | 'externalData'> {
  const model = files.find(({ kind }) => kind === 'model')!;
  const externalData = files.filter(({ kind }) => kind === 'data');
  return {
    model: read.get(model.name)!,
    externalData: externalData.map(({ name }) => ({ path: name, bytes: read.get(name)! })),
  };
}

/** Reads the files side by side; the first failure ends the others. */
async function readFiles(files: readonly LoadFile[], request: LoadRequest): Promise<Map<string, FileBytes>> {
  const read = new Map<string, FileBytes>();
  await Promise.all(
    files.map(async (file) => {
      const bytes = await readFile(file, request);
      if (bytes !== undefined) read.set(file.name, bytes);
    }),
  );
  return read;
}

async function readFile(file: LoadFile, request: LoadRequest): Promise<FileBytes | undefined> {
  const { name, origin } = file;
  const digest = request.digests.get(name);
  if ('url' in origin) return fetchFile(file, origin.url, request);
  if (digest !== undefined) await checkGivenBytes(origin.bytes, digest, name);
  return origin.bytes;
}

async function fetchFile(file: LoadFile, url: URL, request: LoadRequest): Promise<FileBytes | undefined> {
  const { name, kind } = file;
  request.progress.initiate(name);
  try {
    const pieces = await download({
      url,
      file: name,
      kind: kind === 'artefact' ? 'data' : kind,
      digest: request.digests.get(name),
      signal: request.signal,
      stallTimeout: request.stallTimeout ?? DEFAULT_STALL_TIMEOUT,
      onProgress: (loaded, total) => request.progress.progress(name, loaded, total),
    });
    request.progress.done(name);
    return { pieces, owned: true };
  } catch (error) {
    if (file.optional !== true || !isMissing(error) || request.digests.has(name)) throw error;
    request.progress.giveUp(name);
    return undefined;
  }
}

async function checkGivenBytes(bytes: FileBytes, digest: string, name: string): Promise<void> {
  const hash = new Sha256();
  if ('blob' in bytes) {
    const reader = bytes.blob.stream().getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) hash.update(part.value);
  } else {
    for (const piece of bytes.pieces) hash.update(piece);
  }
  checkDigest(hash, digest, name);
}
