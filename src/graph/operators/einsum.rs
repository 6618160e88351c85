//! ONNX `Einsum` (12) of float32 and float64. An ellipsis may stand for other numbers of axes in other operands: they are
//! aligned at their ends.

use super::conv::refuse_other_types;
use super::{Wiring, arguments, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::einsum::EinSum;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

const ELLIPSIS: &str = "...";

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Einsum {
    operands: Vec<String>,
    /// `None` for the letters that occur once, in order, after the ellipsis.
    result: Option<String>,
}

impl Wiring for Einsum {
    const OPERATOR: &'static str = "Einsum";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["equation"])?;
        Einsum::of(&arguments::string(node, "equation", ""))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        refuse_other_types(model, inputs)?;
        let ranks =
            inputs.iter().map(|input| Ok(model.outlet_fact(*input)?.rank())).collect::<TractResult<Vec<_>>>()?;
        model.wire_node(prefix, PlainOperator(self.resolved(&ranks)?), inputs)
    }
}

impl Einsum {
    fn of(equation: &str) -> TractResult<Einsum> {
        let equation: String = equation.chars().filter(|character| !character.is_whitespace()).collect();
        let (operands, result) = match equation.split_once("->") {
            Some((operands, result)) => (operands, Some(result.to_string())),
            None => (&*equation, None),
        };
        let operands: Vec<String> = operands.split(',').map(String::from).collect();
        for term in operands.iter().chain(&result) {
            let letters = term.replacen(ELLIPSIS, "", 1);
            if !letters.chars().all(|letter| letter.is_ascii_alphabetic()) {
                return Err(unsupported(format!("equation `{equation}` is not understood")));
            }
        }
        Ok(Einsum { operands, result })
    }

    /// The sum for operands of these ranks, with letters for what an ellipsis stands for.
    fn resolved(&self, ranks: &[usize]) -> TractResult<EinSum> {
        ensure!(ranks.len() == self.operands.len(), "{} operands for {:?}", ranks.len(), self.operands);
        let mut widths = Vec::new();
        for (operand, rank) in self.operands.iter().zip(ranks) {
            let letters = operand.replace(ELLIPSIS, "").len();
            let width = rank.checked_sub(letters).filter(|width| *width == 0 || operand.contains(ELLIPSIS));
            widths.push(width.with_context(|| format!("operand `{operand}` is of rank {rank}"))?);
        }
        let widest = widths.iter().copied().max().unwrap_or(0);
        let taken = |letter: &char| self.operands.iter().any(|operand| operand.contains(*letter));
        let free: String = ('a'..='z').chain('A'..='Z').filter(|letter| !taken(letter)).take(widest).collect();
        ensure!(free.len() == widest, "an ellipsis of {widest} axes");
        let operands =
            self.operands.iter().zip(widths).map(|(operand, width)| operand.replace(ELLIPSIS, &free[widest - width..]));
        let result = self.result.clone().unwrap_or_else(|| self.implicit_result());
        Ok(EinSum { operands: operands.collect(), result: result.replace(ELLIPSIS, &free) })
    }

    fn implicit_result(&self) -> String {
        let all = self.operands.concat();
        let once = ('A'..='Z').chain('a'..='z').filter(|letter| all.matches(*letter).count() == 1);
        let ellipsis = if all.contains(ELLIPSIS) { ELLIPSIS } else { "" };
        ellipsis.chars().chain(once).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations() {
        let cases: [(&str, &[usize], Option<&str>); 13] = [
            ("ij,jk->ik", &[2, 2], Some("ij,jk->ik")),
            (" i j , j k -> k i ", &[2, 2], Some("ij,jk->ki")),
            ("kj,ji", &[2, 2], Some("kj,ji->ik")),
            ("ii", &[2], Some("ii->")),
            ("ij->", &[2], Some("ij->")),
            ("...ij,...jk->...ik", &[4, 3], Some("abij,bjk->abik")),
            ("...a,a->...", &[3, 1], Some("bca,a->bc")),
            ("...i", &[2], Some("ai->ai")),
            ("i...->i", &[2], Some("ia->i")),
            (",i->i", &[0, 1], Some(",i->i")),
            ("ij->ji", &[3], None),
            ("...ij->ji", &[1], None),
            ("i,j->ij", &[1], None),
        ];
        for (equation, ranks, expected) in cases {
            let sum = Einsum::of(equation).unwrap().resolved(ranks).ok().map(|sum| sum.to_string());
            assert_eq!(sum.as_deref(), expected, "{equation} of ranks {ranks:?}");
        }
        for equation in ["i1->i", "i..->i", "......->...", "i->j->k"] {
            assert!(Einsum::of(equation).is_err(), "{equation}");
        }
    }
}
