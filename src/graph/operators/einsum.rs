//! ONNX `Einsum` (12) of floating-point tensors. Attribute: `equation`; an ellipsis that the result does not name, and a result without
//! dimensions of operands that have some, are refused.

use super::{Wiring, arguments, only_attributes, unsupported};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::einsum::EinSum;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Einsum {
    operands: Vec<String>,
    result: String,
}

const ELLIPSIS: &str = "...";

impl Wiring for Einsum {
    const OPERATOR: &'static str = "Einsum";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["equation"])?;
        let equation: String = arguments::string(node, "equation", "").split_whitespace().collect();
        Einsum::of(&equation)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let datum_type = model.outlet_fact(inputs[0])?.datum_type;
        if !datum_type.is_float() {
            return Err(unsupported("only floats are supported"));
        }
        let ranks = inputs.iter().map(|input| Ok(model.outlet_fact(*input)?.rank()));
        let axes = self.without_ellipsis(&ranks.collect::<TractResult<Vec<_>>>()?)?.parse()?;
        model.wire_node(prefix, EinSum::new(axes, datum_type), inputs)
    }
}

impl Einsum {
    fn of(equation: &str) -> TractResult<Einsum> {
        let (operands, result) = equation.split_once("->").map_or((equation, None), |(a, b)| (a, Some(b)));
        let count = |letter: char| operands.matches(letter).count();
        let has_single = operands.chars().any(|letter| letter.is_alphabetic() && count(letter) == 1);
        if operands.contains(ELLIPSIS) && !result.is_some_and(|result| result.contains(ELLIPSIS)) {
            return Err(unsupported(format!("equation `{equation}`, whose result does not name its ellipsis")));
        }
        if result == Some("") && has_single {
            return Err(unsupported(format!("equation `{equation}`, whose result has no dimensions")));
        }
        let mut single: Vec<char> =
            operands.chars().filter(|letter| letter.is_alphabetic() && count(*letter) == 1).collect();
        single.sort_unstable();
        Ok(Einsum {
            operands: operands.split(',').map(str::to_string).collect(),
            result: result.map_or_else(|| single.into_iter().collect(), str::to_string),
        })
    }

    /// The equation for operands of these ranks: an ellipsis stands for as many axes as the others leave, counted from the last
    /// one.
    fn without_ellipsis(&self, ranks: &[usize]) -> TractResult<String> {
        ensure!(ranks.len() == self.operands.len(), "{} operands of {:?}", ranks.len(), self.operands);
        let mut covered = vec![];
        for (operand, rank) in self.operands.iter().zip(ranks) {
            let named = operand.chars().filter(|letter| letter.is_alphabetic()).count();
            let rest = rank.checked_sub(named).filter(|rest| *rest == 0 || operand.contains(ELLIPSIS));
            covered.push(rest.with_context(|| format!("`{operand}` of a tensor of rank {rank}"))?);
        }
        let most = covered.iter().copied().max().unwrap_or(0);
        let is_free = |letter: &char| !self.operands.iter().any(|operand| operand.contains(*letter));
        let letters: String = ('a'..='z').chain('A'..='Z').filter(is_free).take(most).collect();
        ensure!(letters.len() == most, "an ellipsis for {most} axes");
        let operands = self.operands.iter().zip(&covered);
        let operands: Vec<String> =
            operands.map(|(operand, covered)| operand.replacen(ELLIPSIS, &letters[most - covered..], 1)).collect();
        Ok(format!("{}->{}", operands.join(","), self.result.replacen(ELLIPSIS, &letters, 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations() {
        let cases: &[(&str, &[usize], Option<&str>)] = &[
            ("...i->...", &[1], Some("i->")),
            ("...ii->...i", &[6], Some("abcdii->abcdi")),
            ("...mk,...kn->...mn", &[4, 3], Some("abmk,bkn->abmn")),
            ("ij,jk", &[2, 2], Some("ij,jk->ik")),
            ("ba", &[2], Some("ba->ab")),
            ("i,i->", &[1, 1], Some("i,i->")),
            ("ij->j", &[3], None),
            ("ij->j", &[2, 2], None),
            ("...i", &[2], None),
            ("...i->", &[2], None),
            ("ij->", &[2], None),
        ];
        for (equation, ranks, expected) in cases {
            let found = Einsum::of(equation).and_then(|einsum| einsum.without_ellipsis(ranks));
            assert_eq!(found.ok().as_deref(), *expected, "{equation} {ranks:?}");
        }
    }
}
