//! The protobuf wire format: fields of a message that lies in a file, one after the other, without reading their
//! contents. <https://protobuf.dev/programming-guides/encoding/>

use super::read_at::{ReadAt, ends_early};
use crate::error::{Error, Result};

/// Bytes fetched at a time.
const WINDOW: usize = 64 * 1024;

/// Content of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5: that many bytes at `offset`.
    Fixed,
    /// Wire type 2: bytes, a string, a message or packed numbers.
    Bytes {
        /// Where they begin in the file.
        offset: u64,
        /// How many there are.
        len: u64,
    },
}

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Field number.
    pub number: u32,
    /// Content.
    pub value: Value,
    /// Where the field begins, its tag included.
    pub start: u64,
    /// Where the next field begins.
    pub end: u64,
}

/// Reads the fields of the message at `[position, end)` of a file.
pub struct Fields<'a> {
    source: &'a dyn ReadAt,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Fields<'a> {
    /// The fields of the message at `[start, end)`; `end` must not lie beyond the file's end.
    pub fn new(source: &'a dyn ReadAt, start: u64, end: u64) -> Fields<'a> {
        Fields { source, position: start, end, window: Vec::new(), window_start: 0 }
    }

    /// The next field, `None` at the end of the message.
    pub fn next(&mut self) -> Result<Option<Field>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let start = self.position;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0).ok_or_else(|| self.malformed(start))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8).map(|_| Value::Fixed)?,
            5 => self.skip(4).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                let offset = self.position;
                self.skip(len)?;
                Value::Bytes { offset, len }
            }
            _ => return Err(self.malformed(start)),
        };
        Ok(Some(Field { number, value, start, end: self.position }))
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        match self.position.checked_add(len).filter(|end| *end <= self.end) {
            Some(end) => self.position = end,
            None if self.end == self.source.len() => {
                return Err(ends_early(self.source, self.position, usize::try_from(len).unwrap_or(usize::MAX)));
            }
            None => return Err(self.malformed(self.position)),
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let start = self.position;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed(start))
    }

    fn byte(&mut self) -> Result<u8> {
        if self.position >= self.end {
            return Err(ends_early(self.source, self.position, 1));
        }
        let in_window =
            self.position >= self.window_start && self.position < self.window_start + self.window.len() as u64;
        if !in_window {
            let len = (self.end - self.position).min(WINDOW as u64) as usize;
            self.window.resize(len, 0);
            self.source.read_at(self.position, &mut self.window)?;
            self.window_start = self.position;
        }
        let byte = self.window[(self.position - self.window_start) as usize];
        self.position += 1;
        Ok(byte)
    }

    fn malformed(&self, offset: u64) -> Error {
        Error::invalid_model(format!("not an ONNX file: malformed protobuf at offset {offset}"))
            .file(self.source.name())
            .remedy("pass an .onnx file; if it is one, it is corrupted: fetch it again")
    }
}

/// Copies `[start, end)` of a file to the end of `target`.
pub fn append(source: &dyn ReadAt, start: u64, end: u64, target: &mut Vec<u8>) -> Result<()> {
    let len = usize::try_from(end - start).map_err(|_| ends_early(source, start, usize::MAX))?;
    let filled = target.len();
    target
        .try_reserve(len)
        .map_err(|_| Error::out_of_memory(format!("no memory for {len} bytes of the graph")).file(source.name()))?;
    target.resize(filled + len, 0);
    source.read_at(start, &mut target[filled..])
}

/// Appends a length-delimited field.
pub fn put_bytes(number: u32, bytes: &[u8], target: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, target);
    put_varint(bytes.len() as u64, target);
    target.extend_from_slice(bytes);
}

fn put_varint(mut value: u64, target: &mut Vec<u8>) {
    while value >= 0x80 {
        target.push(value as u8 | 0x80);
        value >>= 7;
    }
    target.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_malformed_bytes() {
        struct Case {
            bytes: &'static [u8],
            fields: Option<Vec<(u32, Value)>>,
        }
        // Expected by hand from the encoding's specification.
        let cases = [
            Case { bytes: &[], fields: Some(vec![]) },
            Case { bytes: &[0x08, 0x96, 0x01], fields: Some(vec![(1, Value::Varint(150))]) },
            Case { bytes: &[0x12, 0x02, 0x68, 0x69], fields: Some(vec![(2, Value::Bytes { offset: 2, len: 2 })]) },
            Case {
                bytes: &[0x0d, 0, 0, 0, 0, 0x08, 0x01],
                fields: Some(vec![(1, Value::Fixed), (1, Value::Varint(1))]),
            },
            Case { bytes: &[0x12, 0x05, 0x68], fields: None },
            Case { bytes: &[0x08, 0x96], fields: None },
            Case { bytes: &[0x0b], fields: None },
            Case { bytes: &[0x00, 0x01], fields: None },
            Case { bytes: &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], fields: None },
            Case { bytes: &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], fields: None },
        ];
        for case in cases {
            let source = ("test", case.bytes);
            let mut fields = Fields::new(&source, 0, case.bytes.len() as u64);
            let mut found = vec![];
            let outcome = loop {
                match fields.next() {
                    Ok(Some(field)) => found.push((field.number, field.value)),
                    Ok(None) => break Some(found),
                    Err(_) => break None,
                }
            };
            assert_eq!(outcome, case.fields, "{:?}", case.bytes);
        }
    }
}
