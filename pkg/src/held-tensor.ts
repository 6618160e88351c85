import { invalidInput } from './errors.js';
import type { HeldOutput } from './glue.js';
import type { Host } from './host.js';
import { type Tensor, tensorFromPlain, TensorWithList } from './tensor.js';
import type { Tensor as OrtTensor } from './vendor/onnxruntime-common/tensor.js';

/** Which engine holds a tensor, and by which number. */
interface Place {
  readonly host: Host;
  readonly held: number;
}

/** Where tensors are held; nothing of those that were released. */
const places = new WeakMap<object, Place>();

/**
 * A tensor whose data stay in the engine's memory until they are released. onnxruntime-common has such tensors for WebNN,
 * which are moved likewise; it knows WebNN's element types alone.
 */
class HeldTensor extends TensorWithList {
  override readonly type: OrtTensor.Type;

  constructor(type: OrtTensor.Type, dims: readonly number[], place: Place) {
    super({
      location: 'ml-tensor',
      type: 'uint8',
      dims,
      mlTensor: {},
      download: () => download(place),
      dispose: () => {
        places.delete(this);
        discard(place);
      },
    });
    this.type = type;
    places.set(this, place);
  }

  override get location(): OrtTensor.DataLocation {
    return places.has(this) ? 'cpu-pinned' : super.location;
  }
}

/** The tensor that a run left in the memory of the engine at `host`. */
export function heldTensor({ type, dims, held }: HeldOutput, host: Host): Tensor {
  return new HeldTensor(type as OrtTensor.Type, dims, { host, held }) as unknown as Tensor;
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

/** Tensors that were disposed of, by the engine that is to be told. */
const discarded = new WeakMap<Host, number[]>();

/** Engines that will be told of what no run tells them. */
const scheduled = new WeakSet<Host>();

/** How long a run may be awaited, in ms, that takes along what was disposed of. */
const DISCARD_AFTER_MS = 20;

/** The next run tells the engine, else a message of its own does; a closed engine has nothing left to forget. */
function discard({ host, held }: Place): void {
  const waiting = discarded.get(host);
  if (waiting === undefined) discarded.set(host, [held]);
  else waiting.push(held);
  if (scheduled.has(host)) return;
  scheduled.add(host);
  setTimeout(() => {
    scheduled.delete(host);
    const all = takeDiscarded(host);
    if (all.length > 0) host.perform('discard', { held: all }).catch(() => {});
  }, DISCARD_AFTER_MS);
}

/** The tensors of which the engine at `host` is now told by the caller. */
export function takeDiscarded(host: Host): number[] {
  const held = discarded.get(host) ?? [];
  discarded.delete(host);
  return held;
}

/** Tells the engine another time: to forget twice does no harm. */
export function discardAgain(host: Host, held: readonly number[]): void {
  for (const number of held) discard({ host, held: number });
}

/** A copy, in the array that an output on the CPU has. */
async function download({ host, held }: Place): Promise<OrtTensor.DataType> {
  const { tensor } = await host.perform('download', { held });
  return tensorFromPlain(tensor).data;
}
