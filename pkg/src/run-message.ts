import type { EngineFeed, HeldOutput, NamedTensor, TensorData } from './glue.js';

/** What a run takes and is to give: `fetches`, or all outputs, of which those named by `hold` stay in the engine's memory. */
export interface RunRequest {
  feeds: EngineFeed[];
  fetches: string[] | undefined;
  hold: readonly string[];
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
  const headers = feeds.map((feed) => ('held' in feed ? feed : { name: feed.name, type: feed.type, dims: feed.dims }));
  const data = feeds.flatMap((feed) => ('held' in feed ? [] : [feed.data]));
  return { json: JSON.stringify({ feeds: headers, fetches, hold }), data };
}

export function decodeOutputs({ json, data }: RunMessage): (NamedTensor | HeldOutput)[] {
  const headers = JSON.parse(json) as (Omit<NamedTensor, 'data'> | HeldOutput)[];
  let next = 0;
  return headers.map((header) => ('held' in header ? header : { ...header, data: data[next++]! }));
}
