//! Byte offsets to UTF-16 units, the units of a JavaScript string.

use std::ops::Range;

/// Bytes between two counts that are kept.
const BLOCK: usize = 256;

/// Finds, for a byte offset in a string, how many UTF-16 units lie before it, in constant time.
pub struct Utf16Index<'t> {
    bytes: &'t [u8],
    before_block: Vec<usize>,
}

impl<'t> Utf16Index<'t> {
    /// Indexes the text.
    pub fn new(text: &'t str) -> Utf16Index<'t> {
        let bytes = text.as_bytes();
        let counts = bytes.chunks(BLOCK).scan(0, |before, block| {
            let start = *before;
            *before += units(block);
            Some(start)
        });
        Utf16Index { bytes, before_block: counts.collect() }
    }

    /// UTF-16 units before a byte offset, which lies on a character boundary.
    pub fn units_before(&self, offset: usize) -> usize {
        let block = (offset / BLOCK).min(self.before_block.len().saturating_sub(1));
        self.before_block.get(block).copied().unwrap_or(0) + units(&self.bytes[block * BLOCK..offset])
    }

    /// A range of bytes as a range of UTF-16 units.
    pub fn range(&self, bytes: &Range<usize>) -> Range<usize> {
        self.units_before(bytes.start)..self.units_before(bytes.end)
    }
}

/// A character's units are counted at its first byte: two from U+10000 on (four bytes of UTF-8), one below.
fn units(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .map(|byte| match byte {
            0x80..=0xBF => 0,
            0xF0.. => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_encode_utf16_at_every_character() {
        let texts = ["", "plain", "cafe\u{301} 日本語 👨‍👩‍👧‍👦 🇨🇭 end", &"aé漢😀".repeat(300)];
        for text in texts {
            let index = Utf16Index::new(text);
            for offset in (0..=text.len()).filter(|offset| text.is_char_boundary(*offset)) {
                assert_eq!(index.units_before(offset), text[..offset].encode_utf16().count(), "{offset} of {text}");
            }
        }
    }
}
