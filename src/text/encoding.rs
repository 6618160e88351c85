//! [`Encoding`]: one text as tokens, whole, special tokens included, nothing cut off and nothing padded.

use super::utf16::Utf16Index;
use std::ops::Range;

/// One text as tokens. All fields have one element per token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// Ids in the vocabulary.
    pub ids: Vec<u32>,
    /// Segment ids (`token_type_ids`).
    pub type_ids: Vec<u32>,
    /// Whether the tokenizer added the token (`[CLS]`, `</s>`, …); false for one spelled out in the text.
    pub special: Vec<bool>,
    /// Index of the pre-tokenizer's word that the token belongs to; none for special tokens.
    pub word_ids: Vec<Option<u32>>,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Where the token stands in the original text, in bytes, on character boundaries. Empty for special tokens.
    pub offsets: Vec<Range<usize>>,
}

impl Encoding {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens of the text itself: all but the special tokens which the tokenizer put before and after.
    pub fn content(&self) -> Range<usize> {
        let before = self.special.iter().take_while(|special| **special).count();
        let after = self.special[before..].iter().rev().take_while(|special| **special).count();
        before..self.len() - after
    }

    /// The offsets in UTF-16 units of the text that was encoded: `text.slice(start, end)` in JavaScript is the token.
    pub fn offsets_utf16(&self, text: &str) -> Vec<Range<usize>> {
        let index = Utf16Index::new(text);
        self.offsets.iter().map(|offsets| index.range(offsets)).collect()
    }
}
