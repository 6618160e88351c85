// wllama, which is llama.cpp: the same weights in its own format.

/** A language model, loaded. */
export async function openWllama({ path, threads, context }) {
  const { Wllama } = await import('../node_modules/@wllama/wllama/esm/index.js');
  const wasm = new URL('../node_modules/@wllama/wllama/esm/wasm/wllama.wasm', import.meta.url).href;
  const wllama = new Wllama({ default: wasm }, { suppressNativeLog: true });
  const model = await (await fetch(new URL(`/models/${path}`, location.href))).blob();
  await wllama.loadModel([model], { n_threads: threads, n_ctx: context, n_gpu_layers: 0 });
  return wllama;
}

/** Times of a prompt and of the steps after it, by its own clock, scaled to these numbers of tokens. */
export async function timeWllama(wllama, promptLength, steps) {
  const { timings } = await wllama.createCompletion({
    prompt: ' the'.repeat(promptLength - 1),
    max_tokens: steps,
    temperature: 0,
    cache_prompt: false,
    ignore_eos: true,
  });
  const { cache_n, prompt_n, prompt_ms, predicted_n, predicted_ms } = timings;
  if (cache_n > 0 || Math.abs(prompt_n - promptLength) > 2 || predicted_n < steps - 1) {
    throw new Error(`wllama computed something else: ${JSON.stringify(timings)}`);
  }
  return { prefillMs: (prompt_ms * promptLength) / prompt_n, decodeMs: (predicted_ms * steps) / predicted_n };
}
