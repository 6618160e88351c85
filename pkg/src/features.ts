import { typedError } from './errors.js';

/** A build of the engine for one thread: `relaxed` uses relaxed SIMD, `simd` only what every current browser has. */
export type UnthreadedVariant = 'relaxed' | 'simd';

/** A build of the engine. */
export type Variant = UnthreadedVariant | `${UnthreadedVariant}-threads`;

const V128 = 0x7b;
const END = 0x0b;
/** `i32.const 0`, `i8x16.splat`. */
const A_VECTOR = [0x41, 0, 0xfd, 15];

/** Instructions that a build uses and that not every browser has, each as the body of a function that gives a vector. */
const PROBES = {
  /** `i8x16.popcnt`. */
  simd128: [...A_VECTOR, 0xfd, 98, END],
  /** `f32x4.relaxed_madd`. */
  relaxedMadd: [...A_VECTOR, ...A_VECTOR, ...A_VECTOR, 0xfd, 0x85, 0x02, END],
  /** `i32x4.relaxed_dot_i8x16_i7x16_add_s`. */
  relaxedDot: [...A_VECTOR, ...A_VECTOR, ...A_VECTOR, 0xfd, 0x93, 0x02, END],
};

/**
 * The fastest build that this browser can compile. Each instruction is tried by itself: browsers are known that report
 * relaxed SIMD and yet lack one of its instructions.
 *
 * @throws `DeviceLost` where WebAssembly or its SIMD are missing.
 */
export function chooseVariant(): UnthreadedVariant {
  if (typeof WebAssembly === 'undefined') throw cannotRun('WebAssembly');
  if (!supports('simd128')) throw cannotRun('WebAssembly SIMD');
  return supports('relaxedMadd') && supports('relaxedDot') ? 'relaxed' : 'simd';
}

/**
 * Whether threads can share memory here: where the page is cross-origin isolated, and `Atomics.waitAsync` lets the engine
 * wait for JavaScript.
 */
export function supportsThreads(): boolean {
  return globalThis.crossOriginIsolated === true && 'waitAsync' in Atomics;
}

function supports(instruction: keyof typeof PROBES): boolean {
  return WebAssembly.validate(moduleOf(PROBES[instruction]));
}

/** A module with one function, without parameters, that gives a vector. */
function moduleOf(body: readonly number[]): Uint8Array<ArrayBuffer> {
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  const types = [1, 5, 1, 0x60, 0, 1, V128];
  const functions = [3, 2, 1, 0];
  const code = [10, body.length + 3, 1, body.length + 1, 0, ...body];
  return new Uint8Array([...magic, ...types, ...functions, ...code]);
}

function cannotRun(missing: string): Error {
  return typedError('DeviceLost', `this browser has no ${missing}`, {
    doing: 'choosing the engine',
    remedy: 'use Chrome 91, Firefox 89, Safari 16.4 or later, or Node 20 or later',
  });
}
