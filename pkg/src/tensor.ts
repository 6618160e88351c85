import { invalidInput } from './errors.js';
import type { PlainTensor } from './glue.js';
import { Tensor as OrtTensor, type TypedTensor as OrtTypedTensor } from './vendor/onnxruntime-common/tensor.js';

/** Nested arrays of a tensor's elements, one level per dimension; the element itself for a tensor without dimensions. */
export type NestedArray = number | bigint | boolean | string | NestedArray[];

/** A {@link Tensor} of a known element type. */
export interface TypedTensor<T extends OrtTensor.Type> extends OrtTypedTensor<T> {
  /** The elements as nested arrays: numbers, bigints for 64-bit integers, booleans for `bool`. */
  tolist(): NestedArray;
  /** The same data with other dimensions of the same volume. */
  reshape(dims: readonly number[]): TypedTensor<T>;
}

/**
 * Data, element type and dimensions: onnxruntime-common's `Tensor`, with transformers.js's `tolist()`.
 *
 * @example
 * ```ts
 * const ids = new Tensor('int64', [101n, 7592n, 102n], [1, 3]);
 * ids.tolist(); // [[101n, 7592n, 102n]]
 * ```
 */
export interface Tensor extends TypedTensor<OrtTensor.Type> {}

/** Types of what a {@link Tensor} holds, as in onnxruntime-common. */
export declare namespace Tensor {
  /** Name of an element type. */
  type Type = OrtTensor.Type;
  /** Data of any element type. */
  type DataType = OrtTensor.DataType;
  /** Data by element type. */
  type DataTypeMap = OrtTensor.DataTypeMap;
  /** Elements by element type. */
  type ElementTypeMap = OrtTensor.ElementTypeMap;
}

type Elements<T extends OrtTensor.Type> =
  | OrtTensor.DataTypeMap[T]
  | readonly OrtTensor.ElementTypeMap[T][]
  | (T extends 'int64' | 'uint64' ? readonly number[] : never);

type TypeOfData<D> = D extends Uint8Array
  ? 'uint8'
  : D extends readonly boolean[]
    ? 'bool'
    : {
        [T in Exclude<OrtTensor.Type, 'bool' | 'float16' | 'int4' | 'uint4'>]: D extends OrtTensor.DataTypeMap[T]
          ? T
          : never;
      }[Exclude<OrtTensor.Type, 'bool' | 'float16' | 'int4' | 'uint4'>];

/** Constructs {@link Tensor}s on the CPU, as onnxruntime-common's does. */
export interface TensorConstructor {
  /**
   * @param dims - one dimension of all elements where omitted
   * @throws `InvalidInput` for data that do not fit the type or the dimensions
   */
  new <T extends OrtTensor.Type>(type: T, data: Elements<T>, dims?: readonly number[]): TypedTensor<T>;
  /** The element type follows from the data: `BigInt64Array` is int64, `boolean[]` bool, `Uint16Array` uint16. */
  new <D extends OrtTensor.DataType | readonly boolean[]>(
    data: D,
    dims?: readonly number[],
  ): TypedTensor<TypeOfData<D>>;
}

/** The class behind {@link Tensor}, which takes whatever onnxruntime-common's constructor does. */
export class TensorWithList extends (OrtTensor as unknown as new (...args: unknown[]) => OrtTensor) {
  constructor(...args: unknown[]) {
    try {
      super(...args);
    } catch (error) {
      throw invalidInput((error as Error).message, { doing: 'making a tensor' });
    }
  }

  override reshape(dims: readonly number[]): Tensor {
    return new TensorWithList(this.type, this.data, dims) as unknown as Tensor;
  }

  tolist(): NestedArray {
    const element = elementReader(this);
    let next = 0;
    const nest = (depth: number): NestedArray =>
      depth === this.dims.length ? element(next++) : Array.from({ length: this.dims[depth]! }, () => nest(depth + 1));
    return nest(0);
  }
}

export const Tensor = TensorWithList as unknown as TensorConstructor;

/** The tensor that the engine answered with. */
export function tensorFromPlain({ type, dims, data }: PlainTensor): Tensor {
  return new TensorWithList(type, data, dims) as unknown as Tensor;
}

function elementReader(tensor: OrtTensor): (index: number) => NestedArray {
  const { data, type } = tensor;
  if (type === 'int4' || type === 'uint4') throw invalidInput(`tolist() does not unpack ${type}`);
  if (type === 'bool') return (index) => data[index] !== 0;
  if (type === 'float16' && data instanceof Uint16Array) return (index) => halfToNumber(data[index]!);
  return (index) => data[index]!;
}

/** The number that the bits of an IEEE 754 binary16 stand for. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
