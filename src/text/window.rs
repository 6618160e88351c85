//! Windows: a text longer than the model takes is run in overlapping parts, each with its own special tokens.

use super::config::Side;
use super::encoding::Encoding;
use crate::error::{Error, Result};
use std::ops::Range;

/// A part of an encoding that the model takes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Segment ids.
    pub type_ids: Vec<u32>,
    /// Positions of the whole encoding whose result is taken from this window. The windows' ranges follow upon each
    /// other and together are the whole encoding: each token is kept once, from a window where the nearer of its two
    /// ends is farthest away.
    pub kept: Range<usize>,
    /// What to take off a position of the whole encoding to have the position in this window.
    pub shift: usize,
}

impl Window {
    fn new(encoding: &Encoding, part: Range<usize>, kept: Range<usize>) -> Window {
        let content = encoding.content();
        let cut = |values: &[u32]| [&values[..content.start], &values[part.clone()], &values[content.end..]].concat();
        Window { ids: cut(&encoding.ids), type_ids: cut(&encoding.type_ids), kept, shift: part.start - content.start }
    }

    /// The positions in this window whose result is kept.
    pub fn kept_here(&self) -> Range<usize> {
        self.kept.start - self.shift..self.kept.end - self.shift
    }
}

/// How many tokens of text fit beside the special tokens.
fn room(encoding: &Encoding, max_length: usize) -> Result<usize> {
    let special = encoding.len() - encoding.content().len();
    max_length.checked_sub(special).filter(|room| *room > 0).ok_or_else(|| {
        Error::invalid_input(format!("{max_length} tokens have no room for text beside {special} special tokens"))
            .doing("splitting the text")
            .remedy("pass a greater `max_length`")
    })
}

/// Splits an encoding into windows of at most `max_length` tokens, special tokens included; one window if it fits.
/// Neighbours share `overlap` tokens of text; without a word on it, a quarter of a window.
///
/// # Errors
/// `InvalidInput` when `max_length` leaves no room for text, or `overlap` is as long as a window.
pub fn windows(encoding: &Encoding, max_length: usize, overlap: Option<usize>) -> Result<Vec<Window>> {
    let content = encoding.content();
    let room = room(encoding, max_length)?;
    let overlap = overlap.unwrap_or(room / 4);
    if overlap >= room {
        return Err(Error::invalid_input(format!("windows of {room} tokens cannot share {overlap}"))
            .doing("splitting the text")
            .remedy("pass a smaller `stride`"));
    }
    let mut windows = Vec::new();
    let (mut start, mut kept) = (content.start, 0);
    loop {
        let end = content.end.min(start + room);
        if end == content.end {
            windows.push(Window::new(encoding, start..end, kept..encoding.len()));
            return Ok(windows);
        }
        let kept_end = end - overlap / 2;
        windows.push(Window::new(encoding, start..end, kept..kept_end));
        (start, kept) = (end - overlap, kept_end);
    }
}

/// The one window of at most `max_length` tokens that is left when the text is cut off at `side`.
///
/// # Errors
/// `InvalidInput` when `max_length` leaves no room for text.
pub fn truncated(encoding: &Encoding, max_length: usize, side: Side) -> Result<Window> {
    let content = encoding.content();
    let length = content.len().min(room(encoding, max_length)?);
    let part = match side {
        Side::Right => content.start..content.start + length,
        Side::Left => content.end - length..content.end,
    };
    let mut window = Window::new(encoding, part, 0..0);
    (window.kept, window.shift) = (0..window.ids.len(), 0);
    Ok(window)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    /// `[CLS] 10 11 12 … [SEP]` with `length` tokens of text.
    fn encoding(length: usize) -> Encoding {
        let ids: Vec<u32> = std::iter::once(1).chain(10..10 + length as u32).chain(std::iter::once(2)).collect();
        let special = ids.iter().map(|id| *id < 10).collect();
        Encoding { type_ids: vec![0; ids.len()], special, ids, ..Encoding::default() }
    }

    #[test]
    fn windows_cover_each_token_once() {
        struct Case {
            length: usize,
            max_length: usize,
            overlap: Option<usize>,
            expected: &'static [(&'static [u32], Range<usize>)],
        }
        let cases = [
            Case { length: 0, max_length: 5, overlap: None, expected: &[(&[1, 2], 0..2)] },
            Case { length: 3, max_length: 5, overlap: Some(2), expected: &[(&[1, 10, 11, 12, 2], 0..5)] },
            Case {
                length: 7,
                max_length: 6,
                overlap: Some(2),
                expected: &[
                    (&[1, 10, 11, 12, 13, 2], 0..4),
                    (&[1, 12, 13, 14, 15, 2], 4..6),
                    (&[1, 14, 15, 16, 2], 6..9),
                ],
            },
            Case {
                length: 5,
                max_length: 5,
                overlap: Some(0),
                expected: &[(&[1, 10, 11, 12, 2], 0..4), (&[1, 13, 14, 2], 4..7)],
            },
            Case {
                length: 6,
                max_length: 6,
                overlap: None,
                expected: &[(&[1, 10, 11, 12, 13, 2], 0..5), (&[1, 13, 14, 15, 2], 5..8)],
            },
        ];
        for case in cases {
            let whole = encoding(case.length);
            let windows = windows(&whole, case.max_length, case.overlap).unwrap();
            let found: Vec<(&[u32], Range<usize>)> =
                windows.iter().map(|window| (window.ids.as_slice(), window.kept.clone())).collect();
            assert_eq!(found, case.expected, "{} tokens", case.length);
            let kept: Vec<u32> = windows.iter().flat_map(|window| window.ids[window.kept_here()].to_vec()).collect();
            assert_eq!(kept, whole.ids, "{} tokens", case.length);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (max_length, overlap) in [(2, None), (0, None), (5, Some(3)), (5, Some(usize::MAX))] {
            let error = windows(&encoding(9), max_length, overlap).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidInput, "{max_length} {overlap:?}");
        }
    }

    #[test]
    fn truncation_keeps_the_special_tokens() {
        struct Case {
            max_length: usize,
            side: Side,
            expected: &'static [u32],
        }
        let cases = [
            Case { max_length: 4, side: Side::Right, expected: &[1, 10, 11, 2] },
            Case { max_length: 4, side: Side::Left, expected: &[1, 13, 14, 2] },
            Case { max_length: 9, side: Side::Left, expected: &[1, 10, 11, 12, 13, 14, 2] },
        ];
        for case in cases {
            let window = truncated(&encoding(5), case.max_length, case.side).unwrap();
            assert_eq!(window.ids, case.expected);
            assert_eq!(window.kept_here(), 0..case.expected.len());
        }
    }
}
