// The examples of the documentation, and what the types must allow and refuse. Checked by `tsc`, never run.

import {
  type EntityGroup,
  InferenceSession,
  type Integrity,
  pipeline,
  type ProgressInfo,
  SottovoceError,
  Tensor,
  type TokenEntity,
  version,
} from 'sottovoce';
import type { Tensor as OrtTensor } from 'onnxruntime-common';

export async function errors(): Promise<void> {
  try {
    await pipeline('ner', '/models/none/');
  } catch (error) {
    if (error instanceof SottovoceError && error.code === 'NetworkError') console.log(error.file, error.remedy);
  }
}

export async function embeddings(): Promise<readonly number[]> {
  const embed = await pipeline('feature-extraction', '/models/all-MiniLM-L6-v2', { dtype: 'q8' });
  const vectors = await embed(['A quiet voice', 'Sotto voce'], { pooling: 'mean', normalize: true });
  await embed.dispose();
  // @ts-expect-error an option of the other task
  await embed('A quiet voice', { aggregation_strategy: 'simple' });
  return vectors.dims;
}

export async function entities(text: string, signal: AbortSignal): Promise<EntityGroup[]> {
  const ner = await pipeline('token-classification', new URL('https://example.org/models/rampart'), {
    dtype: 'q4',
    signal,
  });
  const tokens: TokenEntity[] = await ner(text);
  const unignored: TokenEntity[] = await ner(text, { ignore_labels: [] });
  const perText: EntityGroup[][] = await ner([text, text], { aggregation_strategy: 'max', signal });
  // @ts-expect-error tokens are not groups
  const wrong: EntityGroup[] = await ner(text);
  const found = await ner(text, { aggregation_strategy: 'simple' });
  for (const { entity_group, start, end } of found) console.log(entity_group, text.slice(start, end));
  return found;
}

export async function progress(): Promise<void> {
  const integrity: Integrity = { 'onnx/model.onnx': 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' };
  const progress_callback = (event: ProgressInfo) => {
    if (event.status === 'progress_total') console.log(event.progress);
  };
  const ner = await pipeline('ner', '/models/rampart', {
    progress_callback,
    integrity,
    device: 'webgpu',
    worker: false,
  });
  console.log(ner.device, ner.deviceReason, ner.counters().attentionOnGpu, version);
  // @ts-expect-error no such task
  await pipeline('text-generation', '/models/rampart');
  // @ts-expect-error no such option
  await pipeline('ner', '/models/rampart', { revision: 'main' });
}

export async function session(bytes: Uint8Array, file: File): Promise<Tensor> {
  const session = await InferenceSession.create('/models/encoder.onnx', { executionProviders: ['webgpu', 'wasm'] });
  const input_ids = new Tensor('int64', [101n, 7592n, 102n], [1, 3]);
  const attention_mask = new Tensor('int64', [1n, 1n, 1n], [1, 3]);
  const { last_hidden_state } = await session.run({ input_ids, attention_mask });
  await session.release();
  await InferenceSession.create(bytes);
  await InferenceSession.create(file, { externalData: [{ path: 'model.onnx_data', data: file }, '/models/more.bin'] });
  await InferenceSession.create(bytes.buffer, 16, 1000, { numThreads: 1 });
  await session.run({ input_ids }, ['logits'], { signal: AbortSignal.timeout(1000) });
  await session.run({ input_ids }, { logits: null });
  // @ts-expect-error an option of onnxruntime that has no meaning here
  await session.run({ input_ids }, { terminate: true });
  return last_hidden_state!;
}

export function tensors(theirs: OrtTensor): void {
  const ids = new Tensor('int64', [101, 7592, 102], [1, 3]);
  const data: BigInt64Array = ids.data;
  const floats: Float32Array = new Tensor(new Float32Array(4), [2, 2]).data;
  const bits: Uint8Array = new Tensor([true, false]).data;
  const type: Tensor.Type = ids.type;
  const accepted: OrtTensor = ids.reshape([3, 1]);
  const feeds: Parameters<InferenceSession['run']>[0] = { theirs };
  ids.tolist();
  // @ts-expect-error data of another type
  new Tensor('int64', new Float32Array(1));
}

export async function artefacts(): Promise<void> {
  const cache = await caches.open('models');
  const kept = await cache.match('/artefacts/encoder');
  const session = await InferenceSession.create('/models/encoder.onnx', kept && { artefact: await kept.blob() });
  if (session.loadedFrom === 'model') await cache.put('/artefacts/encoder', new Response(await session.save()));
  const embed = await pipeline('feature-extraction', '/models/all-MiniLM-L6-v2', {
    session_options: { artefact: '/artefacts/all-MiniLM-L6-v2' },
  });
  const from: 'artefact' | 'model' = embed.loadedFrom;
  console.log(from);
}
