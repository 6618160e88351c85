/** A model that `cargo xtask models` fetches. */
export interface Model {
  readonly name: string;
  /** Address of its folder, below the repository's root. */
  readonly folder: string;
  /** Address of its ONNX file. */
  readonly file: string;
  /** What `pipeline()` calls its weights file. */
  readonly dtype: 'q4' | 'q8';
  readonly layers: number;
  /** Width of its hidden states. */
  readonly width: number;
}

function model(name: string, file: string, dtype: Model['dtype']): Model {
  const folder = `/models/${name}`;
  return { name, folder, file: `${folder}/onnx/${file}`, dtype, layers: 6, width: 384 };
}

/** Finds personal data. */
export const RAMPART = model('rampart', 'model_q4.onnx', 'q4');

/** Embeds sentences. */
export const MINILM = model('all-MiniLM-L6-v2', 'model_quantized.onnx', 'q8');

export const MODELS = [RAMPART, MINILM];
