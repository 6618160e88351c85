import { invalidInput, typedError } from './errors.js';
import { Sha256 } from './sha256.js';

/**
 * What the files' bytes must hash to, as in
 * {@link https://www.w3.org/TR/sri-2/ | Subresource Integrity}: `sha256-` and the digest in base64. A single string is
 * for the model file; an object names each file as progress events name it.
 *
 * @example
 * ```ts
 * const integrity: Integrity = { 'onnx/model.onnx': 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' };
 * ```
 */
export type Integrity = string | { readonly [file: string]: string };

/** The digest that one file must have, or `undefined` where none was asked for. */
export type ExpectedDigests = ReadonlyMap<string, string>;

/**
 * Reads the `integrity` option for a load of the named files.
 *
 * @throws `InvalidInput` for a digest that is not `sha256-…`, or for a file that this load does not read: a check that
 * would not take place must not look as if it did.
 */
export function expectedDigests(
  integrity: Integrity | undefined,
  modelFile: string,
  files: readonly string[],
): ExpectedDigests {
  if (integrity === undefined) return new Map();
  const byFile = typeof integrity === 'string' ? { [modelFile]: integrity } : integrity;
  if (typeof byFile !== 'object' || byFile === null)
    throw invalidInput('option `integrity` must be a string or an object');
  for (const [file, digest] of Object.entries(byFile)) {
    if (!files.includes(file)) {
      throw invalidInput(`option \`integrity\` names \`${file}\`, which is not read`, {
        remedy: `the files read are ${files.join(', ')}`,
      });
    }
    if (typeof digest !== 'string' || !/^sha256-[A-Za-z0-9+/]{43}=$/.test(digest)) {
      throw invalidInput(`option \`integrity\` has no SHA-256 digest for \`${file}\``, {
        remedy: 'pass `sha256-` and the digest in base64',
      });
    }
  }
  return new Map(Object.entries(byFile));
}

/** Compares what was read with the digest that was promised. */
export function checkDigest(hash: Sha256, expected: string, file: string): void {
  const actual = `sha256-${btoa(String.fromCharCode(...hash.digest()))}`;
  if (actual === expected) return;
  throw typedError('IntegrityError', `the bytes hash to ${actual}, promised was ${expected}`, {
    doing: 'checking the download',
    file,
    remedy: 'the file was changed or damaged on its way: fetch it anew, or update the digest if the change was meant',
  });
}
