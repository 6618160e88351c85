// transformers.js, which computes in a build of onnxruntime-web that comes with it.

const PACKAGE = '../node_modules/@huggingface/transformers/';

/** The module that it loads by default, which has WebGPU too. */
const MODULE = `${PACKAGE}node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify`;

/** Its pipeline for the vectors of texts, which computes on the CPU in the page's thread. Nothing is fetched but from this server. */
export async function openTransformers({ folder, dtype, threads }) {
  const { env, pipeline } = await import(`${PACKAGE}dist/transformers.min.js`);
  const fileOf = (extension) => new URL(MODULE + extension, import.meta.url).href;
  Object.assign(env, { allowLocalModels: true, allowRemoteModels: false, localModelPath: '/models/' });
  Object.assign(env, { useBrowserCache: false, useWasmCache: false });
  Object.assign(env.backends.onnx.wasm, { numThreads: threads, proxy: false, wasmPaths: { mjs: fileOf('.mjs'), wasm: fileOf('.wasm') } });
  return pipeline('feature-extraction', folder, { device: 'wasm', dtype });
}
