import { invalidInput } from './errors.js';
import type { HeldOutput } from './glue.js';
import type { Host } from './host.js';
import { type Tensor, TensorWithList } from './tensor.js';
import type { Tensor as OrtTensor } from './vendor/onnxruntime-common/tensor.js';

/** Which engine holds a tensor, and by which number. */
interface Place {
  readonly host: Host;
  readonly held: number;
}

const places = new WeakMap<object, Place>();

/** A tensor whose data stay in the engine's memory. onnxruntime-common has such tensors for WebNN; they are moved likewise. */
class HeldTensor extends TensorWithList {
  constructor(type: string, dims: readonly number[], place: Place) {
    super({
      location: 'ml-tensor',
      type,
      dims,
      mlTensor: {},
      download: () => download(place, type),
      dispose: () => discard(place),
    });
    places.set(this, place);
  }

  override get location(): OrtTensor.DataLocation {
    return 'cpu-pinned';
  }
}

/** The tensor that a run left in the memory of the engine at `host`. */
export function heldTensor({ type, dims, held }: HeldOutput, host: Host): Tensor {
  return new HeldTensor(type, dims, { host, held }) as unknown as Tensor;
}

/** The number of a tensor that the engine at `host` holds. @throws `InvalidInput` when another engine does */
export function heldNumber(tensor: object, host: Host, name: string): number | undefined {
  const place = places.get(tensor);
  if (place === undefined || place.host === host) return place?.held;
  throw invalidInput("the tensor is in another session's memory", {
    tensor: name,
    remedy: 'feed a copy: new Tensor(tensor.type, await tensor.getData(), tensor.dims)',
  });
}

const discarded = new WeakMap<Host, number[]>();

/** Tells the engine of all tensors that are disposed of in one go; a closed engine has nothing left to forget. */
function discard({ host, held }: Place): void {
  const waiting = discarded.get(host);
  if (waiting !== undefined) {
    waiting.push(held);
    return;
  }
  const all = [held];
  discarded.set(host, all);
  queueMicrotask(() => {
    discarded.delete(host);
    host.perform('discard', { held: all }).catch(() => {});
  });
}

async function download({ host, held }: Place, type: string): Promise<OrtTensor.DataType> {
  const { tensor } = await host.perform('download', { held });
  if (tensor.type !== type) throw invalidInput(`the tensor is ${tensor.type}, not ${type}`);
  return tensor.data as OrtTensor.DataType;
}
