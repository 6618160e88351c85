// When an answer agrees with a recorded one, and how closely; in pages and in Node.js alike.

import { floatsOf } from './safetensors.js';

/**
 * @typedef {{ atol: number, rtol: number }} Tolerance `|actual - expected| <= atol + rtol * |expected|` for floats; all else must be equal
 * @typedef {{ type: string, dims: readonly number[], data: unknown, dispose?: () => void }} Tensor
 * @typedef {object} Comparison
 * @property {string} [disagreement] what is wrong, if anything is
 * @property {number} maxAbsError over the floats; infinite where one side is not finite and the other is another
 * @property {number} cosine of the floats; 1 where there are none, or nothing but zeros
 */

/**
 * Compares a tensor with the recorded one, the elements that `isDefined` admits.
 *
 * @param {Tensor} actual
 * @param {Tensor} expected
 * @param {Tolerance} tolerance
 * @param {(at: number) => boolean} [isDefined]
 * @returns {Comparison}
 */
export function compare(actual, expected, tolerance, isDefined = () => true) {
  const [found, wanted] = [layout(actual), layout(expected)];
  if (found !== wanted) return { disagreement: `${found} instead of ${wanted}`, maxAbsError: Infinity, cosine: 0 };
  const [values, right] = [floatsOf(actual), floatsOf(expected)];
  if (values !== undefined && right !== undefined) return compareFloats(values, right, tolerance, isDefined);
  const [exact, exactlyRight] = [/** @type {ArrayLike<unknown>} */ (actual.data), /** @type {ArrayLike<unknown>} */ (expected.data)];
  for (let at = 0; at < exactlyRight.length; at += 1) {
    if (exact[at] !== exactlyRight[at]) {
      return { disagreement: `${exact[at]} instead of ${exactlyRight[at]} at ${at}`, maxAbsError: 0, cosine: 1 };
    }
  }
  return { maxAbsError: 0, cosine: 1 };
}

/**
 * @param {ArrayLike<number>} actual
 * @param {ArrayLike<number>} expected
 * @param {Tolerance} tolerance
 * @param {(at: number) => boolean} isDefined
 * @returns {Comparison}
 */
function compareFloats(actual, expected, { atol, rtol }, isDefined) {
  let [product, square, rightSquare, maxAbsError, wrong, worst] = [0, 0, 0, 0, 0, -1];
  for (let at = 0; at < expected.length; at += 1) {
    if (!isDefined(at)) continue;
    const [value, right] = [actual[at] ?? NaN, expected[at] ?? NaN];
    if (Object.is(value, right) || value === right) {
      if (Number.isFinite(value)) [product, square, rightSquare] = [product + value * value, square + value * value, rightSquare + value * value];
      continue;
    }
    const difference = Math.abs(value - right);
    const error = Number.isNaN(difference) ? Infinity : difference;
    if (!(error <= atol + rtol * Math.abs(right))) wrong += 1;
    if (error > maxAbsError) [maxAbsError, worst] = [error, at];
    if (Number.isFinite(error)) [product, square, rightSquare] = [product + value * right, square + value * value, rightSquare + right * right];
  }
  const cosine = square === 0 && rightSquare === 0 ? 1 : product / Math.sqrt(square * rightSquare);
  if (wrong === 0) return { maxAbsError, cosine };
  const disagreement = `${wrong} of ${expected.length} elements are off, at worst ${actual[worst]} instead of ${expected[worst]} at ${worst} (allowed ${atol} + ${rtol} * |expected|)`;
  return { disagreement, maxAbsError, cosine };
}

/**
 * In how many positions of `[.., positions, vocabulary]` the largest logit is the recorded one.
 *
 * @param {Tensor} actual
 * @param {Tensor} expected
 * @param {(at: number) => boolean} [isDefined]
 */
export function topOnes(actual, expected, isDefined = () => true) {
  const [values, right] = [floatsOf(actual) ?? [], floatsOf(expected) ?? []];
  const width = expected.dims.at(-1) ?? 1;
  let [same, all] = [0, 0];
  for (let start = 0; start < right.length; start += width) {
    if (!isDefined(start)) continue;
    all += 1;
    if (largest(values, start, width) === largest(right, start, width)) same += 1;
  }
  return { same, all };
}

/**
 * @param {ArrayLike<number>} values
 * @param {number} start
 * @param {number} width
 */
function largest(values, start, width) {
  let best = start;
  for (let at = start; at < start + width; at += 1) {
    if ((values[at] ?? NaN) > (values[best] ?? NaN)) best = at;
  }
  return best;
}

/** @param {Tensor} tensor */
function layout({ type, dims }) {
  return `${type} [${dims.join(', ')}]`;
}
