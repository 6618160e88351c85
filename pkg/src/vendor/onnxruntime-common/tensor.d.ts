export { Tensor, type TypedTensor } from 'onnxruntime-common';
