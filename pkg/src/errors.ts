/**
 * What kind of thing went wrong; stable names that callers may match on.
 *
 * - `UnsupportedOp`: the model needs an operator, or a use of one, that is not supported.
 * - `InvalidModel`: a model, tokenizer or configuration file is not what it claims to be.
 * - `InvalidInput`: what the caller passed in does not fit: a name, a dtype, a shape, an option, a value.
 * - `OutOfMemory`: the model and its activations do not fit in the memory that can be had.
 * - `DeviceLost`: the device asked for was lost, or none could be had (no WebGPU adapter; WebAssembly without SIMD).
 * - `Aborted`: the caller asked to stop. The error's `name` is `'AbortError'`.
 * - `NetworkError`: a file could not be fetched or read.
 * - `IntegrityError`: a file's bytes do not match what was promised of them.
 * - `InternalError`: a defect in sottovoce itself.
 */
export type ErrorCode = (typeof ERROR_CODES)[number];

const ERROR_CODES = [
  'UnsupportedOp',
  'InvalidModel',
  'InvalidInput',
  'OutOfMemory',
  'DeviceLost',
  'Aborted',
  'NetworkError',
  'IntegrityError',
  'InternalError',
] as const;

const PLACES = ['doing', 'node', 'op', 'tensor', 'file', 'remedy'] as const;

/** Where an error happened and what can be done about it. Fields that do not apply are `undefined`. */
export interface ErrorPlaces {
  /** What was being done, e.g. `loading the model`. */
  readonly doing?: string | undefined;
  /** Name of the graph node concerned. */
  readonly node?: string | undefined;
  /** Operator concerned. */
  readonly op?: string | undefined;
  /** Name of the tensor concerned. */
  readonly tensor?: string | undefined;
  /** File concerned. */
  readonly file?: string | undefined;
  /** What the caller can do about it. */
  readonly remedy?: string | undefined;
}

/** A {@link SottovoceError} as plain data, fit for `postMessage`. */
export interface PlainError extends ErrorPlaces {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * Every failure that sottovoce reports: a code, a sentence, what was being done, where, and a remedy.
 *
 * @example
 * ```ts
 * try {
 *   await pipeline('ner', '/models/none/');
 * } catch (error) {
 *   if (error instanceof SottovoceError && error.code === 'NetworkError') console.log(error.file, error.remedy);
 * }
 * ```
 */
export class SottovoceError extends Error implements PlainError {
  /** What kind of thing went wrong. */
  readonly code: ErrorCode;
  readonly doing: string | undefined;
  readonly node: string | undefined;
  readonly op: string | undefined;
  readonly tensor: string | undefined;
  readonly file: string | undefined;
  readonly remedy: string | undefined;

  /** An error whose `message` is the whole sentence to show. */
  constructor(code: ErrorCode, message: string, places: ErrorPlaces = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = code === 'Aborted' ? 'AbortError' : 'SottovoceError';
    this.code = code;
    this.doing = places.doing;
    this.node = places.node;
    this.op = places.op;
    this.tensor = places.tensor;
    this.file = places.file;
    this.remedy = places.remedy;
  }

  /** The error as plain data, to cross a worker's border. */
  toPlain(): PlainError {
    const plain: Record<string, string> = { code: this.code, message: this.message };
    for (const place of PLACES) {
      if (this[place] !== undefined) plain[place] = this[place];
    }
    return plain as unknown as PlainError;
  }

  /** The error that {@link SottovoceError.toPlain} described. */
  static fromPlain(plain: PlainError): SottovoceError {
    return new SottovoceError(plain.code, plain.message, plain);
  }
}

/** Whether a thrown value carries a code of ours, as the engine's errors do. */
export function isPlainError(thrown: unknown): thrown is PlainError {
  return (
    typeof thrown === 'object' &&
    thrown !== null &&
    (ERROR_CODES as readonly unknown[]).includes((thrown as PlainError).code) &&
    typeof (thrown as PlainError).message === 'string'
  );
}

/** An error whose sentence is composed as the engine composes its own: `doing: what (places); remedy`. */
export function typedError(
  code: ErrorCode,
  what: string,
  places: ErrorPlaces = {},
  options?: ErrorOptions,
): SottovoceError {
  const named = (['op', 'node', 'tensor', 'file'] as const).filter((place) => places[place] !== undefined);
  const where = named.map((place) => `${place} \`${places[place]}\``).join(', ');
  const sentence =
    (places.doing === undefined ? '' : `${places.doing}: `) +
    what +
    (where === '' ? '' : ` (${where})`) +
    (places.remedy === undefined ? '' : `; ${places.remedy}`);
  return new SottovoceError(code, sentence, places, options);
}

/** An {@link ErrorCode} `InvalidInput` error. */
export function invalidInput(what: string, places?: ErrorPlaces): SottovoceError {
  return typedError('InvalidInput', what, places);
}

/** The error of an aborted action; the signal's reason is its `cause`. */
export function abortedError(doing: string, signal?: AbortSignal): SottovoceError {
  return typedError('Aborted', 'the caller asked to stop', { doing }, { cause: signal?.reason });
}

/** Throws {@link abortedError} when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, doing: string): void {
  if (signal?.aborted) throw abortedError(doing, signal);
}
