//! Specialising WGSL text: a shader file is WGSL with directives, each on a line of its own.
//!
//! `//: for i in COUNT … //: end` repeats lines with `{i}` replaced by 0, 1, …; `//: if COUNT … //: else … //: end` keeps one
//! of two branches, the first if the count is not zero. Each constant is also declared in the text, as a WGSL `u32`.

use crate::error::{Error, Result};
use std::fmt::Write;

/// The text with its directives carried out under these constants.
pub(super) fn expand(source: &str, constants: &[(&str, u32)]) -> Result<String> {
    let mut text = String::new();
    for (name, value) in constants {
        let _ = writeln!(text, "const {name}: u32 = {value}u;");
    }
    let lines: Vec<&str> = source.lines().collect();
    Template { constants }.expand_lines(&lines, &mut Vec::new(), &mut text)?;
    Ok(text)
}

struct Template<'a> {
    constants: &'a [(&'a str, u32)],
}

/// Loop variables around a line and their present values.
type Loops<'a> = Vec<(&'a str, u32)>;

impl Template<'_> {
    fn expand_lines<'a>(&self, lines: &[&'a str], loops: &mut Loops<'a>, text: &mut String) -> Result<()> {
        let mut next = 0;
        while let Some(&line) = lines.get(next) {
            next += 1;
            let Some(words) = directive(line) else {
                push_line(line, loops, text);
                continue;
            };
            let (middle, end) = block(&lines[next..], line)?;
            let body = &lines[next..next + end];
            next += end + 1;
            match words[..] {
                ["for", variable, "in", count] => {
                    for value in 0..self.constant(count)? {
                        loops.push((variable, value));
                        self.expand_lines(body, loops, text)?;
                        loops.pop();
                    }
                }
                ["if", count] => {
                    let otherwise = middle.map_or(&[][..], |middle| &body[middle + 1..]);
                    let chosen = if self.constant(count)? != 0 { &body[..middle.unwrap_or(end)] } else { otherwise };
                    self.expand_lines(chosen, loops, text)?;
                }
                _ => return Err(malformed(line)),
            }
        }
        Ok(())
    }

    fn constant(&self, name: &str) -> Result<u32> {
        let found = self.constants.iter().find(|(constant, _)| *constant == name);
        found.map(|(_, value)| *value).ok_or_else(|| malformed(name))
    }
}

fn directive(line: &str) -> Option<Vec<&str>> {
    line.trim_start().strip_prefix("//:").map(|words| words.split_whitespace().collect())
}

/// Positions of the `else`, if any, and of the `end` that belong to the directive before these lines.
fn block(lines: &[&str], opening: &str) -> Result<(Option<usize>, usize)> {
    let mut depth = 0;
    let mut middle = None;
    for (position, line) in lines.iter().enumerate() {
        match directive(line).as_deref() {
            Some(["end"]) if depth == 0 => return Ok((middle, position)),
            Some(["end"]) => depth -= 1,
            Some(["else"]) if depth == 0 => middle = Some(position),
            Some(["for" | "if", ..]) => depth += 1,
            _ => {}
        }
    }
    Err(malformed(opening))
}

fn push_line(line: &str, loops: &Loops, text: &mut String) {
    let mut line = line.to_owned();
    for (variable, value) in loops {
        line = line.replace(&format!("{{{variable}}}"), &value.to_string());
    }
    text.push_str(&line);
    text.push('\n');
}

fn malformed(what: &str) -> Error {
    Error::internal(format!("malformed shader template at `{}`", what.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_carried_out() {
        struct Case {
            source: &'static str,
            expected: Result<&'static str, &'static str>,
        }
        let cases = [
            Case { source: "a{i}", expected: Ok("a{i}\n") },
            Case { source: "//: for i in TWO\na{i}\n//: end\nb", expected: Ok("a0\na1\nb\n") },
            Case { source: "//: for i in NONE\na\n//: end\nb", expected: Ok("b\n") },
            Case {
                source: "//: for i in TWO\n  //: for j in TWO\n{i}{j}\n  //: end\n//: end",
                expected: Ok("00\n01\n10\n11\n"),
            },
            Case { source: "//: if TWO\na\n//: else\nb\n//: end", expected: Ok("a\n") },
            Case { source: "//: if NONE\na\n//: else\nb\n//: end", expected: Ok("b\n") },
            Case { source: "//: if NONE\na\n//: end\nb", expected: Ok("b\n") },
            Case {
                source: "//: if NONE\n//: if TWO\na\n//: else\nb\n//: end\n//: else\nc\n//: end",
                expected: Ok("c\n"),
            },
            Case { source: "//: for i in TWO\na", expected: Err("//: for i in TWO") },
            Case { source: "//: if MANY\n//: end", expected: Err("MANY") },
            Case { source: "//: while TWO\n//: end", expected: Err("//: while TWO") },
        ];
        for case in cases {
            let expanded = expand(case.source, &[("TWO", 2), ("NONE", 0)]);
            match case.expected {
                Ok(text) => {
                    let declared = "const TWO: u32 = 2u;\nconst NONE: u32 = 0u;\n";
                    assert_eq!(expanded.unwrap(), format!("{declared}{text}"), "{}", case.source);
                }
                Err(place) => assert!(expanded.unwrap_err().message.contains(place), "{}", case.source),
            }
        }
    }
}
