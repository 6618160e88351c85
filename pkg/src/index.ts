/**
 * sottovoce runs Transformers exported to ONNX inside a web page. Nothing that is typed there, and nothing derived from
 * it, leaves the page.
 *
 * @packageDocumentation
 */

export { type ErrorCode, type ErrorPlaces, type PlainError, SottovoceError } from './errors.js';
export type { Feeds, Fetches } from './feeds.js';
export type { Counters, LoadedFrom } from './glue.js';
export type { Integrity } from './integrity.js';
export type { DType } from './model-layout.js';
export type { ModelSource } from './model-source.js';
export {
  type FeatureExtractionPipeline,
  type LoadedPipeline,
  pipeline,
  type PipelineByTask,
  type PipelineOptions,
  type TokenClassificationPipeline,
} from './pipeline.js';
export type { ProgressCallback, ProgressInfo } from './progress.js';
export type { OutputLocation, SessionOptions } from './session-options.js';
export { InferenceSession, type RunOptions } from './session.js';
export type {
  CallOptions,
  EntitiesFor,
  EntityGroup,
  FeatureExtractionOptions,
  TaskName,
  TokenClassificationOptions,
  TokenEntity,
} from './tasks.js';
export { type NestedArray, Tensor, type TensorConstructor, type TypedTensor } from './tensor.js';
export { version } from './version.js';
