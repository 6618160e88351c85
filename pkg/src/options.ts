import { invalidInput } from './errors.js';

/** Checks of what callers pass in. Each throws `InvalidInput` that names the option, and returns the value otherwise. */

/** Refuses anything but a plain options object whose keys are all known. `undefined` counts as no options. */
export function checkKeys(options: unknown, known: readonly string[], what: string): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidInput(`${what} must be an object, got ${describe(options)}`);
  }
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw invalidInput(`unknown option \`${unknown}\` in ${what}`, {
      remedy: known.length === 0 ? 'no options are known here' : `the known options are ${known.join(', ')}`,
    });
  }
}

/** One of a list of strings. */
export function checkChoice<T extends string>(value: unknown, choices: readonly T[], name: string): T {
  if ((choices as readonly unknown[]).includes(value)) return value as T;
  throw invalidInput(`option \`${name}\` is ${describe(value)}`, { remedy: `pass one of ${choices.join(', ')}` });
}

/** A value of the given JavaScript type, or `undefined`. */
export function checkType(value: unknown, type: 'string' | 'boolean' | 'function' | 'object', name: string): void {
  if (value === undefined) return;
  if (typeof value !== type || value === null) {
    throw invalidInput(`option \`${name}\` must be a ${type}, got ${describe(value)}`);
  }
}

/** An `AbortSignal`, or `undefined`. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidInput(`option \`signal\` must be an AbortSignal, got ${describe(signal)}`);
  }
}

/** A short description of a value, for error messages. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `'${value.slice(0, 60)}…'` : `'${value}'`;
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? 'an array' : `a ${value.constructor?.name ?? 'object'}`;
  return typeof value === 'function' ? 'a function' : String(value);
}
