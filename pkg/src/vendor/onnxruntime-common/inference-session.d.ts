export type { InferenceSession } from 'onnxruntime-common';
