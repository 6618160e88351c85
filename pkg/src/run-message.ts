import type { EngineFeed, HeldOutput, NamedTensor, TensorData, ValueInfo } from './glue.js';

/**
 * What a run takes, in the order of the model's inputs, and is to give: `fetches`, or all outputs, of which those in `hold` stay in the
 * engine's memory; both by their positions.
 */
export interface RunRequest {
  feeds: EngineFeed[];
  fetches: readonly number[] | undefined;
  hold: readonly number[];
}

/**
 * What goes into a run, or comes out of it. Between threads, and into WebAssembly, one text takes a fraction of the time of its objects.
 */
export interface RunMessage {
  /** All but the elements. */
  json: string;
  /** The elements of those tensors that the engine does not hold, in their order. */
  data: TensorData[];
}

export function encodeRequest({ feeds, fetches, hold }: RunRequest): RunMessage {
  const headers = feeds.map((feed) => ('held' in feed ? feed.held : [feed.type, feed.dims]));
  const data = feeds.flatMap((feed) => ('held' in feed ? [] : [feed.data]));
  return { json: JSON.stringify({ feeds: headers, fetches, hold }), data };
}

/** The outputs that a run gave, of which `infos` says name and type. */
export function decodeOutputs({ json, data }: RunMessage, infos: readonly ValueInfo[]): (NamedTensor | HeldOutput)[] {
  const headers = JSON.parse(json) as [dims: number[], held: number | null][];
  let next = 0;
  return headers.map(([dims, held], at) => {
    const { name, type } = infos[at]!;
    return held === null ? { name, type, dims, data: data[next++]! } : { name, type, dims, held };
  });
}
