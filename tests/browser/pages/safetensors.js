// Tensors of safetensors files, in pages and in Node.js alike.

/**
 * A tensor as the package takes it; float16 and bfloat16 by their bits.
 *
 * @typedef {Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | BigInt64Array | BigUint64Array} Data
 * @typedef {{ type: string, dims: number[], data: Data }} StoredTensor
 */

/** @type {Record<string, [string, new (buffer: ArrayBuffer) => Data]>} */
const TYPES = {
  F32: ['float32', Float32Array],
  F64: ['float64', Float64Array],
  F16: ['float16', Uint16Array],
  BF16: ['bfloat16', Uint16Array],
  I8: ['int8', Int8Array],
  U8: ['uint8', Uint8Array],
  I16: ['int16', Int16Array],
  U16: ['uint16', Uint16Array],
  I32: ['int32', Int32Array],
  U32: ['uint32', Uint32Array],
  I64: ['int64', BigInt64Array],
  U64: ['uint64', BigUint64Array],
  BOOL: ['bool', Uint8Array],
};

/**
 * The tensors of a file, by name: an 8-byte header size, a JSON header, then the data.
 *
 * @param {ArrayBuffer} file
 * @returns {Map<string, StoredTensor>}
 */
export function parseSafetensors(file) {
  const dataStart = 8 + Number(new DataView(file).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, dataStart - 8)));
  delete header.__metadata__;
  /** @type {[string, { dtype: string, shape: number[], data_offsets: [number, number] }][]} */
  const entries = Object.entries(header);
  return new Map(
    entries.map(([name, { dtype, shape, data_offsets: [start, end] }]) => {
      const [type, Elements] = TYPES[dtype] ?? [];
      if (type === undefined || Elements === undefined) throw new Error(`\`${name}\` is of type ${dtype}`);
      return [name, { type, dims: shape, data: new Elements(file.slice(dataStart + start, dataStart + end)) }];
    }),
  );
}

/**
 * The elements as numbers, `undefined` for a tensor that holds no floats.
 *
 * @param {{ type: string, data: unknown }} tensor
 * @returns {ArrayLike<number> | undefined}
 */
export function floatsOf({ type, data }) {
  if (type === 'float32' || type === 'float64') return /** @type {Float32Array} */ (data);
  if (type === 'float16') return data instanceof Uint16Array ? Float64Array.from(data, halfToNumber) : /** @type {Float32Array} */ (data);
  if (type === 'bfloat16') return new Float32Array(Uint32Array.from(/** @type {Uint16Array} */ (data), (bits) => bits << 16).buffer);
  return undefined;
}

/** @param {number} bits of an IEEE 754 binary16 */
function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
