import { invalidInput, typedError } from './errors.js';
import type { EngineFeed, TensorData, ValueInfo } from './glue.js';
import { heldNumber } from './held-tensor.js';
import type { Host } from './host.js';
import { describe } from './options.js';
import type { Tensor } from './tensor.js';

/** What goes into a run, by input name. Anything that holds `type`, `dims` and `data` as a {@link Tensor} does. */
export type Feeds = { readonly [name: string]: Pick<Tensor, 'type' | 'dims' | 'data'> };

/** Which outputs to compute: their names, or an object with their names as keys and `null` as values. */
export type Fetches = readonly string[] | { readonly [name: string]: null };

/** The names of the outputs to compute. @throws `InvalidInput` for a name that the model does not know */
export function checkFetches(fetches: Fetches, known: readonly string[]): string[] {
  if (typeof fetches !== 'object' || fetches === null) {
    throw invalidInput(`the fetches must be an array or an object, got ${describe(fetches)}`);
  }
  const names = Array.isArray(fetches) ? (fetches as readonly string[]) : Object.keys(fetches);
  if (names.length === 0) {
    throw invalidInput('no outputs are asked for', { remedy: 'leave `fetches` out for all of them' });
  }
  for (const name of names) {
    if (!known.includes(name)) {
      throw invalidInput('the model has no such output', {
        tensor: name,
        remedy: `its outputs are ${known.join(', ')}`,
      });
    }
    if (!Array.isArray(fetches) && (fetches as { [name: string]: unknown })[name] !== null) {
      throw invalidInput('outputs cannot be written into given tensors', {
        tensor: name,
        remedy: 'pass null, and use the tensor that is returned',
      });
    }
  }
  return [...names];
}

/** Checks that there are tensors for what a run is to give. @throws `UnsupportedOp` for an output of type bfloat16 */
export function checkOutputTypes(outputs: readonly ValueInfo[]): void {
  const output = outputs.find(({ type }) => type === 'bfloat16');
  if (output === undefined) return;
  throw typedError('UnsupportedOp', 'an output of type bfloat16 has no counterpart in JavaScript', {
    tensor: output.name,
    remedy: 'export the model with a Cast to float32 at its end, or do not fetch this output',
  });
}

/**
 * The inputs as the engine at `host` takes them.
 *
 * @throws `InvalidInput` for a wrong name, type or number of elements, and for a tensor that another engine holds
 */
export function checkFeeds(feeds: Feeds, inputs: readonly ValueInfo[], host: Host): EngineFeed[] {
  if (typeof feeds !== 'object' || feeds === null) {
    throw invalidInput(`the feeds must be an object, got ${describe(feeds)}`);
  }
  const names = inputs.map(({ name }) => name);
  const unknown = Object.keys(feeds).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw invalidInput('the model has no such input', {
      tensor: unknown,
      remedy: `its inputs are ${names.join(', ')}`,
    });
  }
  return inputs.map((input) => checkFeed(input, feeds[input.name], host));
}

function checkFeed({ name, type }: ValueInfo, tensor: Feeds[string] | undefined, host: Host): EngineFeed {
  if (tensor === undefined || tensor === null) {
    throw invalidInput('an input is missing', { tensor: name, remedy: `pass a tensor of type ${type}` });
  }
  if (tensor.type !== type) {
    throw invalidInput(`the input is ${describe(tensor.type)}, the model takes ${type}`, {
      tensor: name,
      remedy: `pass a tensor of type ${type}`,
    });
  }
  const held = heldNumber(tensor, host, name);
  if (held !== undefined) return { held };
  if (!Array.isArray(tensor.dims)) {
    throw invalidInput(`the input's dims are ${describe(tensor.dims)}`, { tensor: name, remedy: 'pass an array' });
  }
  const dims: number[] = [...tensor.dims];
  const data = plainData(dataOnCpu(tensor, name), name);
  if (dims.reduce((volume, dim) => volume * dim, 1) !== data.length) {
    throw invalidInput(`a tensor of shape [${dims.join(', ')}] cannot hold ${data.length} elements`, {
      tensor: name,
      remedy: 'pass as many elements as the product of the dims',
    });
  }
  return { type, dims, data };
}

/** onnxruntime-common's tensors may live on a GPU or be disposed of, and then throw when their data are read. */
function dataOnCpu(tensor: Feeds[string], name: string): unknown {
  try {
    return tensor.data;
  } catch (cause) {
    throw invalidInput(`the input's data cannot be read: ${(cause as Error).message}`, {
      tensor: name,
      remedy: 'pass a tensor that is on the CPU and not disposed of',
    });
  }
}

/** The elements as the engine takes them; float16 as bits, whichever array holds them. */
function plainData(data: unknown, tensor: string): TensorData {
  if (!ArrayBuffer.isView(data) || data instanceof DataView) {
    throw invalidInput(`the input's data is ${describe(data)}`, { tensor, remedy: 'pass a typed array' });
  }
  const isFloat16 = data.constructor.name === 'Float16Array';
  return (isFloat16 ? new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2) : data) as TensorData;
}
