//! [`Batch`]: windows padded to one length, as the inputs that a text model asks for.

use super::config::Side;
use super::tokenizer::Tokenizer;
use super::window::Window;

/// Windows padded to the longest. All fields but the sizes are `[rows, columns]`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of windows.
    pub rows: usize,
    /// Length of the longest window.
    pub columns: usize,
    /// Column of each row's first token: 0 unless padding is to the left.
    pub starts: Vec<usize>,
    input_ids: Vec<i64>,
    attention_mask: Vec<i64>,
    token_type_ids: Vec<i64>,
    position_ids: Vec<i64>,
}

impl Batch {
    /// Pads the windows to the longest of them, on the side that the tokenizer's configuration names.
    pub fn new(tokenizer: &Tokenizer, windows: &[&Window]) -> Batch {
        let columns = windows.iter().map(|window| window.ids.len()).max().unwrap_or(0);
        let first_position = tokenizer.first_position();
        let pad_position = first_position.saturating_sub(1) as i64;
        let volume = windows.len() * columns;
        let mut batch = Batch {
            rows: windows.len(),
            columns,
            starts: Vec::with_capacity(windows.len()),
            input_ids: vec![i64::from(tokenizer.pad_id()); volume],
            attention_mask: vec![0; volume],
            token_type_ids: vec![0; volume],
            position_ids: vec![pad_position; volume],
        };
        for (row, window) in windows.iter().enumerate() {
            let start = match tokenizer.padding_side() {
                Side::Right => 0,
                Side::Left => columns - window.ids.len(),
            };
            batch.starts.push(start);
            for (token, (id, type_id)) in window.ids.iter().zip(&window.type_ids).enumerate() {
                let at = row * columns + start + token;
                batch.input_ids[at] = i64::from(*id);
                batch.attention_mask[at] = 1;
                batch.token_type_ids[at] = i64::from(*type_id);
                batch.position_ids[at] = (first_position + token) as i64;
            }
        }
        batch
    }

    /// The values, `[rows, columns]`, for a model input of that name: `input_ids`, `attention_mask`, `token_type_ids` or
    /// `position_ids`. None for any other name.
    pub fn values(&self, name: &str) -> Option<&[i64]> {
        match name {
            "input_ids" => Some(&self.input_ids),
            "attention_mask" => Some(&self.attention_mask),
            "token_type_ids" => Some(&self.token_type_ids),
            "position_ids" => Some(&self.position_ids),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fixtures::tokenizer_json;

    #[test]
    fn pads_to_the_longest() {
        struct Case {
            tokenizer_config: &'static str,
            config: &'static str,
            expected: [(&'static str, [i64; 8]); 4],
        }
        let cases = [
            Case {
                tokenizer_config: r#"{"pad_token": "[PAD]"}"#,
                config: "{}",
                expected: [
                    ("input_ids", [2, 7, 8, 3, 2, 3, 0, 0]),
                    ("attention_mask", [1, 1, 1, 1, 1, 1, 0, 0]),
                    ("token_type_ids", [0, 1, 1, 0, 0, 0, 0, 0]),
                    ("position_ids", [0, 1, 2, 3, 0, 1, 0, 0]),
                ],
            },
            Case {
                tokenizer_config: r#"{"pad_token": "[UNK]", "padding_side": "left"}"#,
                config: r#"{"model_type": "roberta", "pad_token_id": 1}"#,
                expected: [
                    ("input_ids", [2, 7, 8, 3, 1, 1, 2, 3]),
                    ("attention_mask", [1, 1, 1, 1, 0, 0, 1, 1]),
                    ("token_type_ids", [0, 1, 1, 0, 0, 0, 0, 0]),
                    ("position_ids", [2, 3, 4, 5, 1, 1, 2, 3]),
                ],
            },
        ];
        let long = Window { ids: vec![2, 7, 8, 3], type_ids: vec![0, 1, 1, 0], kept: 0..4, shift: 0 };
        let short = Window { ids: vec![2, 3], type_ids: vec![0, 0], kept: 0..2, shift: 0 };
        for case in cases {
            let (tokenizer_config, config) = (case.tokenizer_config.as_bytes(), case.config.as_bytes());
            let json = tokenizer_json("wordpiece");
            let tokenizer = Tokenizer::from_json(json, Some(tokenizer_config), Some(config)).unwrap();
            let batch = Batch::new(&tokenizer, &[&long, &short]);
            for (name, expected) in case.expected {
                assert_eq!(batch.values(name).unwrap(), expected, "{name}");
            }
            assert_eq!((batch.rows, batch.columns), (2, 4));
            assert_eq!(batch.values("pixel_values"), None);
        }
    }
}
