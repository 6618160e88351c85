import type { PlainTensor, TaskAnswer } from './glue.js';
import { type Tensor, tensorFromPlain } from './tensor.js';

/** Settings of one call that every task has. Unknown ones are refused. */
export interface CallOptions {
  /** Stops the call. */
  signal?: AbortSignal;
  /** Texts, or windows of long texts, that are run at once. */
  batch_size?: number;
  /** Tokens that neighbouring windows of a long text share; a quarter of a window by default. */
  stride?: number;
}

/** Settings of one call of a {@link FeatureExtractionPipeline}. */
export interface FeatureExtractionOptions extends CallOptions {
  /** How token vectors become one per text: not at all (the default), their mean, or the first token's. */
  pooling?: 'none' | 'mean' | 'cls';
  /** Whether to scale each vector to unit length. */
  normalize?: boolean;
  /** Whether to cut off what exceeds `max_length`, instead of running it in overlapping windows. */
  truncation?: boolean;
  /** Tokens run at once; at most, and by default, the model's limit. */
  max_length?: number;
}

/** Settings of one call of a {@link TokenClassificationPipeline}. */
export interface TokenClassificationOptions extends CallOptions {
  /** How tokens become entities, as in Python's pipelines; `none` (the default) gives tokens. */
  aggregation_strategy?: 'none' | 'simple' | 'first' | 'average' | 'max';
  /** Labels to leave out of the answer; `['O']` by default. */
  ignore_labels?: readonly string[];
}

/** One token, as `aggregation_strategy: 'none'` gives them. `text.slice(start, end)` is its place in the text. */
export interface TokenEntity {
  /** Label of the token, e.g. `B-PER`. */
  entity: string;
  /** Probability of the label. */
  score: number;
  /** Number of the token in the text, counted from 1. */
  index: number;
  word: string;
  start: number;
  end: number;
}

/** One entity, as the other strategies give them. `text.slice(start, end)` is the entity. */
export interface EntityGroup {
  /** Label of the entity, e.g. `PER`. */
  entity_group: string;
  /** Probability of the label, over the entity's tokens as the strategy says. */
  score: number;
  word: string;
  start: number;
  end: number;
}

/** What {@link TokenClassificationOptions.aggregation_strategy} decides. */
export type EntitiesFor<Options> = 'aggregation_strategy' extends keyof Options
  ? EntitiesOf<Options['aggregation_strategy']>
  : TokenEntity[];

type EntitiesOf<Strategy> = Strategy extends 'none' | undefined ? TokenEntity[] : EntityGroup[];

/** What is known of a task: the options of its calls, its files, and how its answer is handed out. */
export interface Task {
  /** The name that the engine knows. */
  readonly engineName: string;
  readonly callOptions: readonly string[];
  readonly needsConfig: boolean;
  /** The result for one text, or for an array of them. */
  result(answer: TaskAnswer, isBatch: boolean): Tensor | unknown[];
}

const CALL_OPTIONS = ['signal', 'batch_size', 'stride'] as const satisfies readonly (keyof CallOptions)[];

const FEATURE_EXTRACTION: Task = {
  engineName: 'feature-extraction',
  callOptions: [
    ...CALL_OPTIONS,
    ...([
      'pooling',
      'normalize',
      'truncation',
      'max_length',
    ] as const satisfies readonly (keyof FeatureExtractionOptions)[]),
  ],
  needsConfig: false,
  result: (answer) => tensorFromPlain((answer as { tensor: PlainTensor }).tensor),
};

const TOKEN_CLASSIFICATION: Task = {
  engineName: 'token-classification',
  callOptions: [
    ...CALL_OPTIONS,
    ...(['aggregation_strategy', 'ignore_labels'] as const satisfies readonly (keyof TokenClassificationOptions)[]),
  ],
  needsConfig: true,
  result: (answer, isBatch) => {
    const perText = JSON.parse((answer as { json: string }).json) as unknown[][];
    return isBatch ? perText : perText[0]!;
  },
};

/** The tasks by the names that callers use; `ner` is `token-classification`. */
export const TASKS = {
  'feature-extraction': FEATURE_EXTRACTION,
  'token-classification': TOKEN_CLASSIFICATION,
  ner: TOKEN_CLASSIFICATION,
} as const satisfies Record<string, Task>;

/** Name of a task. */
export type TaskName = keyof typeof TASKS;
