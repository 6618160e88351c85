//! [`tidy`]: from where tokens stand to where an entity stands.

use std::ops::Range;
use tokenizers::normalizers::StripAccents;
use tokenizers::{NormalizedString, Normalizer};

/// The span, in bytes of the text, without white space at its ends (unless it holds nothing else) and with the combining
/// marks after it. Some tokenizers count the space before a word as part of it, and some drop the accent after a letter.
pub fn tidy(text: &str, span: Range<usize>) -> Range<usize> {
    let slice = &text[span.clone()];
    let trimmed = match slice.trim() {
        "" => span,
        word => {
            let start = span.start + slice.len() - slice.trim_start().len();
            start..start + word.len()
        }
    };
    let marks = text[trimmed.end..].chars().take_while(|character| is_combining_mark(*character));
    trimmed.start..trimmed.end + marks.map(char::len_utf8).sum::<usize>()
}

/// Whether the character is a combining mark (Unicode general category M): what [`StripAccents`] takes away.
fn is_combining_mark(character: char) -> bool {
    let mut string = NormalizedString::from(character.to_string());
    !character.is_ascii() && StripAccents.normalize(&mut string).is_ok() && string.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_words() {
        struct Case {
            text: &'static str,
            span: Range<usize>,
            expected: &'static str,
        }
        let cases = [
            Case { text: "met Zoe in", span: 4..7, expected: "Zoe" },
            Case { text: "met Zoe in", span: 3..8, expected: "Zoe" },
            Case { text: "met Zoe\u{308} in", span: 3..7, expected: "Zoe\u{308}" },
            Case { text: "z\u{334}\u{335}\u{336}", span: 0..1, expected: "z\u{334}\u{335}\u{336}" },
            Case { text: "हिन्दी", span: 0..3, expected: "हि" },
            Case { text: "a\u{3000}b", span: 1..4, expected: "\u{3000}" },
            Case { text: "東京😀", span: 0..6, expected: "東京" },
            Case { text: "ab", span: 2..2, expected: "" },
        ];
        for case in cases {
            assert_eq!(&case.text[tidy(case.text, case.span)], case.expected, "{}", case.text);
        }
    }
}
