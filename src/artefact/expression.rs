//! Sizes as bytes: the expressions of symbols that tract computes with, operands before what is made of them.

use super::reader::{Reader, malformed};
use super::writer::Writer;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use tract_core::internal::{TDim, TVec};

/// Terms of an expression; no graph is compiled that has more.
const MOST_TERMS: usize = 512;
/// Sizes of a shape, or of a constant of sizes.
const MOST_SIZES: usize = 1 << 16;

/// What is made of the operands that came last.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Term {
    Value(i64),
    Symbol(usize),
    Add(usize),
    Multiply(usize),
    MultiplyInteger(i64),
    Divide(u64),
    Broadcast(usize),
    Min(usize),
    Max(usize),
    GreaterOrEqual,
    Equal,
}

impl Writer<'_> {
    /// Writes expressions.
    pub fn expressions<'b>(&mut self, sizes: impl IntoIterator<Item = &'b TDim>) -> Result<()> {
        let mut expressions = Vec::new();
        for size in sizes {
            let mut terms = Vec::new();
            self.add_terms(size, &mut terms)?;
            expressions.push(terms);
        }
        self.value(&expressions)
    }

    fn add_terms(&self, size: &TDim, terms: &mut Vec<Term>) -> Result<()> {
        let operands = |operands: &[TDim], term: Term, terms: &mut Vec<Term>| {
            operands.iter().try_for_each(|operand| self.add_terms(operand, terms))?;
            terms.push(term);
            Ok(())
        };
        match size {
            TDim::Val(value) => operands(&[], Term::Value(*value), terms),
            TDim::Sym(symbol) => operands(&[], Term::Symbol(self.symbol(symbol)?), terms),
            TDim::Add(list) => operands(list, Term::Add(list.len()), terms),
            TDim::Mul(list) => operands(list, Term::Multiply(list.len()), terms),
            TDim::Broadcast(list) => operands(list, Term::Broadcast(list.len()), terms),
            TDim::Min(list) => operands(list, Term::Min(list.len()), terms),
            TDim::Max(list) => operands(list, Term::Max(list.len()), terms),
            TDim::MulInt(factor, of) => operands(std::slice::from_ref(of), Term::MultiplyInteger(*factor), terms),
            TDim::Div(of, by) => operands(std::slice::from_ref(of), Term::Divide(*by), terms),
            TDim::Ge(left, right) => {
                self.add_terms(left, terms)?;
                operands(std::slice::from_ref(right), Term::GreaterOrEqual, terms)
            }
            TDim::Eq(left, right) => {
                self.add_terms(left, terms)?;
                operands(std::slice::from_ref(right), Term::Equal, terms)
            }
        }
    }
}

impl Reader<'_> {
    /// Reads expressions.
    pub fn expressions(&mut self) -> Result<TVec<TDim>> {
        let expressions: Vec<Vec<Term>> = self.value()?;
        if expressions.len() > MOST_SIZES {
            return Err(malformed("a shape has too many sizes"));
        }
        expressions.iter().map(|terms| self.expression(terms)).collect()
    }

    fn expression(&self, terms: &[Term]) -> Result<TDim> {
        let malformed = || malformed("a size is no expression");
        if terms.len() > MOST_TERMS {
            return Err(malformed());
        }
        let mut stack: Vec<TDim> = Vec::new();
        for term in terms {
            let mut operands = |count: usize| {
                let start = stack.len().checked_sub(count).ok_or_else(malformed)?;
                Ok(stack.split_off(start))
            };
            let mut one = || operands(1).and_then(|list| list.into_iter().next().map(Box::new).ok_or_else(malformed));
            let size = match *term {
                Term::Value(value) => TDim::Val(value),
                Term::Symbol(number) => TDim::Sym(self.symbol(number)?),
                Term::MultiplyInteger(factor) => TDim::MulInt(factor, one()?),
                Term::Divide(0) => return Err(malformed()),
                Term::Divide(by) => TDim::Div(one()?, by),
                Term::GreaterOrEqual => {
                    let right = one()?;
                    TDim::Ge(one()?, right)
                }
                Term::Equal => {
                    let right = one()?;
                    TDim::Eq(one()?, right)
                }
                Term::Add(count) => TDim::Add(operands(count)?),
                Term::Multiply(count) => TDim::Mul(operands(count)?),
                Term::Broadcast(count) => TDim::Broadcast(operands(count)?),
                Term::Min(count) => TDim::Min(operands(count)?),
                Term::Max(count) => TDim::Max(operands(count)?),
            };
            stack.push(size);
        }
        match <[TDim; 1]>::try_from(stack) {
            Ok([size]) => Ok(size),
            Err(_) => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use tract_core::internal::{SymbolScope, ToDim};
    use tract_core::prelude::TypedModel;

    fn graph(symbols: &SymbolScope) -> TypedModel {
        TypedModel { symbols: symbols.clone(), ..TypedModel::default() }
    }

    #[test]
    fn sizes_are_read_as_they_were_written() {
        let symbols = SymbolScope::default();
        let (batch, past) = (TDim::Sym(symbols.sym("batch")), TDim::Sym(symbols.sym("past sequence")));
        let pair = || vec![batch.clone(), past.clone()];
        let cases = [
            (-1).to_dim(),
            i64::MAX.to_dim(),
            batch.clone(),
            batch.clone() * 3 + past.clone() - 1,
            (batch.clone() + 1) / 4,
            TDim::Mul(pair()),
            TDim::Broadcast(pair()),
            TDim::Min(pair()),
            TDim::Max(vec![batch.clone() * past.clone(), 0.to_dim(), past.clone()]),
            TDim::Ge(Box::new(batch.clone()), Box::new(past.clone() + 1)),
            TDim::Eq(Box::new(batch.clone()), Box::new(past.clone())),
        ];
        let mut writer = Writer::default();
        writer.symbols_of(&graph(&symbols)).unwrap();
        writer.expressions(&cases).unwrap();
        let (description, _) = writer.finish();
        let source = ("artefact", &[][..]);
        let mut reader = Reader::new(&source, &description);
        reader.symbols_of(&mut graph(&symbols)).unwrap();
        let read = reader.expressions().unwrap();
        assert_eq!(format!("{read:?}"), format!("{cases:?}"));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let one = Term::Value(1);
        let cases: [&[Term]; 10] = [
            &[],
            &[one, one],
            &[Term::Symbol(0)],
            &[Term::Symbol(usize::MAX)],
            &[one, Term::Divide(0)],
            &[Term::Divide(2)],
            &[Term::MultiplyInteger(2)],
            &[one, Term::Add(2)],
            &[one, Term::Max(usize::MAX)],
            &[one, Term::Equal],
        ];
        let deep = [&[one][..], &[Term::MultiplyInteger(2); MOST_TERMS]].concat();
        for terms in cases.into_iter().chain([&*deep]) {
            let mut writer = Writer::default();
            writer.value(&vec![terms]).unwrap();
            let (description, _) = writer.finish();
            let source = ("artefact", &[][..]);
            let result = Reader::new(&source, &description).expressions();
            assert_eq!(result.unwrap_err().code, ErrorCode::InvalidModel, "{terms:?}");
        }
    }
}
