import { dimensionsOf } from '../cases.mjs';

/** The inputs of an encoder: token ids that differ from place to place, no padding, all of the first segment. */
export function encoderFeeds(Tensor, model, shape) {
  const dims = dimensionsOf(shape);
  const length = dims[0] * dims[1];
  const tensor = (valueAt) => new Tensor('int64', BigInt64Array.from({ length }, (_, index) => BigInt(valueAt(index))), dims);
  return {
    input_ids: tensor((index) => model.firstId + ((index * 7919) % (model.vocabSize - model.firstId))),
    attention_mask: tensor(() => 1),
    token_type_ids: tensor(() => 0),
  };
}
