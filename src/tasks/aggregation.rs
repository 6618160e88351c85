//! Token scores to entities: the aggregation strategies of transformers' `TokenClassificationPipeline`.

use crate::error::Result;
use crate::text::span::tidy;
use crate::text::{Encoding, Tokenizer};
use serde::Deserialize;
use std::ops::Range;

/// How token predictions become entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AggregationStrategy {
    /// One result per token.
    #[default]
    None,
    /// Neighbouring tokens of one label are one entity; a `B-` label begins another.
    Simple,
    /// As simple, with each word labelled by its first token.
    First,
    /// As simple, with each word labelled by the mean of its tokens' scores.
    Average,
    /// As simple, with each word labelled by its token with the highest score.
    Max,
}

/// One result of token classification.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// The label, with its `B-` or `I-` if it is one token's, without if it is a group's.
    pub label: String,
    /// Probability of the label: a token's, or the mean over a group.
    pub score: f32,
    /// Position of the token in the encoding, special tokens counted; none for a group.
    pub index: Option<usize>,
    /// The token as the vocabulary spells it, or the group's tokens joined.
    pub word: String,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
}

/// A token with its scores.
struct ScoredToken<'s> {
    index: usize,
    word: String,
    scores: &'s [f32],
    span: Range<usize>,
    continues_word: bool,
}

/// Turns the scores of an encoding's tokens, `[tokens, labels]` probabilities, into entities, in the order of the text.
///
/// As `gather_pre_entities` and `aggregate` in transformers, but for two things. Whether a token continues a word is told by
/// the tokenizer's prefix (`##`), where transformers compares the lengths of token and text, which differ also where
/// normalising changes a length. Spans are trimmed of white space at their ends, and hold the combining marks after their
/// last letter, so that the span is the entity, whatever the tokenizer dropped or took along.
///
/// # Errors
/// `InvalidModel` when the tokenizer's decoder refuses a token.
pub fn aggregate(
    tokenizer: &Tokenizer,
    text: &str,
    encoding: &Encoding,
    scores: &[f32],
    labels: &[String],
    strategy: AggregationStrategy,
) -> Result<Vec<Entity>> {
    let tokens = scored_tokens(tokenizer, text, encoding, scores, labels.len());
    let entities: Vec<Entity> = match strategy {
        AggregationStrategy::None | AggregationStrategy::Simple => {
            tokens.into_iter().map(|token| token_entity(token, labels)).collect()
        }
        AggregationStrategy::First | AggregationStrategy::Average | AggregationStrategy::Max => tokens
            .chunk_by(|_, next| next.continues_word)
            .map(|word| word_entity(tokenizer, word, labels, strategy))
            .collect::<Result<_>>()?,
    };
    let entities = match strategy {
        AggregationStrategy::None => entities,
        _ => entities.chunk_by(continues_entity).map(|group| group_entity(tokenizer, group)).collect::<Result<_>>()?,
    };
    Ok(entities.into_iter().map(|entity| Entity { span: tidy(text, entity.span), ..entity }).collect())
}

fn scored_tokens<'s>(
    tokenizer: &Tokenizer,
    text: &str,
    encoding: &Encoding,
    scores: &'s [f32],
    labels: usize,
) -> Vec<ScoredToken<'s>> {
    let rows = scores.chunks_exact(labels).enumerate().filter(|(index, _)| !encoding.special[*index]);
    rows.map(|(index, scores)| {
        let (token, span) = (&encoding.tokens[index], encoding.offsets[index].clone());
        let unknown = tokenizer.unk_id() == Some(encoding.ids[index]);
        let continues_word = !unknown
            && match tokenizer.continuing_subword_prefix() {
                Some(prefix) => token.starts_with(prefix),
                None => no_space_around(text, span.start),
            };
        let word = if unknown { text[span.clone()].to_string() } else { token.clone() };
        ScoredToken { index, word, scores, span, continues_word }
    })
    .collect()
}

/// Whether neither of the characters before and after the offset is a space, and there is one before: transformers' sign
/// of a token that continues a word, where the tokenizer has no prefix for it.
fn no_space_around(text: &str, offset: usize) -> bool {
    offset > 0 && !text[..offset].ends_with(' ') && !text[offset..].starts_with(' ')
}

/// Index of the greatest score, the first of several.
fn argmax(scores: &[f32]) -> usize {
    (1..scores.len()).fold(0, |best, index| if scores[index] > scores[best] { index } else { best })
}

fn token_entity(token: ScoredToken<'_>, labels: &[String]) -> Entity {
    let class = argmax(token.scores);
    Entity {
        label: labels[class].clone(),
        score: token.scores[class],
        index: Some(token.index),
        word: token.word,
        span: token.span,
    }
}

fn word_entity(
    tokenizer: &Tokenizer,
    word: &[ScoredToken<'_>],
    labels: &[String],
    strategy: AggregationStrategy,
) -> Result<Entity> {
    let scores = match strategy {
        AggregationStrategy::Average => mean_scores(word),
        AggregationStrategy::Max => highest_scores(word).to_vec(),
        _ => word[0].scores.to_vec(),
    };
    let class = argmax(&scores);
    Ok(Entity {
        label: labels[class].clone(),
        score: scores[class],
        index: None,
        word: tokenizer.join_tokens(word.iter().map(|token| token.word.clone()).collect())?,
        span: word[0].span.start..word[word.len() - 1].span.end,
    })
}

fn mean_scores(word: &[ScoredToken<'_>]) -> Vec<f32> {
    let sum_of = |class: usize| word.iter().map(|token| token.scores[class]).sum::<f32>();
    (0..word[0].scores.len()).map(|class| sum_of(class) / word.len() as f32).collect()
}

/// The scores of the token with the highest one, the first of several.
fn highest_scores<'s>(word: &[ScoredToken<'s>]) -> &'s [f32] {
    let highest = |scores: &[f32]| scores[argmax(scores)];
    word.iter()
        .map(|token| token.scores)
        .reduce(|best, next| if highest(next) > highest(best) { next } else { best })
        .unwrap_or_default()
}

/// Whether the second of two neighbours belongs to the entity of the first. A label that is neither `B-` nor `I-` counts as
/// `I-`.
fn continues_entity(entity: &Entity, next: &Entity) -> bool {
    fn tag(label: &str) -> &str {
        label.strip_prefix("B-").or(label.strip_prefix("I-")).unwrap_or(label)
    }
    tag(&entity.label) == tag(&next.label) && !next.label.starts_with("B-")
}

fn group_entity(tokenizer: &Tokenizer, group: &[Entity]) -> Result<Entity> {
    let label = &group[0].label;
    Ok(Entity {
        label: label.split_once('-').map_or(label.as_str(), |(_, tag)| tag).to_string(),
        score: group.iter().map(|entity| entity.score).sum::<f32>() / group.len() as f32,
        index: None,
        word: tokenizer.join_tokens(group.iter().map(|entity| entity.word.clone()).collect())?,
        span: group[0].span.start..group[group.len() - 1].span.end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixtures::{entities, tokenizer};
    use serde_json::Value;

    const UNKNOWN: &str = r#"{"unk_token": "<unk>"}"#;

    fn strategy(name: &str) -> AggregationStrategy {
        serde_json::from_value(Value::from(name)).unwrap()
    }

    fn softmax(logits: &Value) -> Vec<f32> {
        let logits: Vec<f64> = logits.as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| (logit.exp() / sum) as f32).collect()
    }

    fn assert_same(text: &str, found: &Entity, expected: &Value) {
        let label = expected.get("entity_group").or(expected.get("entity")).unwrap();
        assert_eq!(found.label, label.as_str().unwrap(), "{text}: {expected}");
        assert!(
            (f64::from(found.score) - expected["score"].as_f64().unwrap()).abs() < 2e-6,
            "{text}: {expected} {found:?}"
        );
        assert_eq!(found.word, expected["word"].as_str().unwrap(), "{text}");
        if expected.get("entity").is_some() {
            assert_eq!(found.index, expected["index"].as_u64().map(|index| index as usize), "{text}: {expected}");
        }
        let (start, end) = (expected["start"].as_u64().unwrap() as usize, expected["end"].as_u64().unwrap() as usize);
        let slice: String = text.chars().skip(start).take(end - start).collect();
        let trimmed = if slice.trim().is_empty() { slice.as_str() } else { slice.trim() };
        assert_eq!(&text[found.span.clone()], trimmed, "{text}: {expected}");
        assert!((start..=end).contains(&text[..found.span.start].chars().count()), "{text}: {expected}");
    }

    #[test]
    fn aggregates_as_transformers_does() {
        let recorded = entities();
        let labels: Vec<String> = serde_json::from_value(recorded["labels"].clone()).unwrap();
        for case in recorded["cases"].as_array().unwrap() {
            let name = case["tokenizer"].as_str().unwrap();
            let tokenizer = tokenizer(name, if name == "wordpiece" { "{}" } else { UNKNOWN });
            let text = case["text"].as_str().unwrap();
            let encoding = tokenizer.encode(text).unwrap();
            let scores: Vec<f32> = case["logits"].as_array().unwrap().iter().flat_map(softmax).collect();
            for (strategy_name, expected) in case["entities"].as_object().unwrap() {
                let strategy = strategy(strategy_name);
                let found = aggregate(&tokenizer, text, &encoding, &scores, &labels, strategy).unwrap();
                let expected = expected.as_array().unwrap();
                assert_eq!(found.len(), expected.len(), "{name} {strategy_name} {text}");
                for (found, expected) in found.iter().zip(expected) {
                    assert_same(text, found, expected);
                }
            }
        }
    }

    #[test]
    fn a_decomposed_accent_neither_joins_words_nor_is_cut_off() {
        let text = "met Rene\u{301}e Jose\u{301}, in";
        let tokenizer = tokenizer("wordpiece", "{}");
        let encoding = tokenizer.encode(text).unwrap();
        let labels = ["O".to_string(), "B-PER".to_string()];
        let person = |token: &String| matches!(token.as_str(), "renee" | "jose");
        let scores: Vec<f32> =
            encoding.tokens.iter().flat_map(|token| if person(token) { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
        for name in ["none", "simple", "first", "average", "max"] {
            let found = aggregate(&tokenizer, text, &encoding, &scores, &labels, strategy(name)).unwrap();
            let people: Vec<&str> =
                found.iter().filter(|entity| entity.label != "O").map(|entity| &text[entity.span.clone()]).collect();
            assert_eq!(people, ["Rene\u{301}e", "Jose\u{301}"], "{name}");
        }
    }
}
