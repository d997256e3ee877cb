//! A [`Partial`] as bytes, for the stream between a hub and the center above it.
//!
//! Always true: equal parts have equal bytes, and no bytes can make the reader panic or allocate more than a small multiple of their length.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::accumulate::Part;
use super::cell::Cell;
use super::memo::Place;
use super::number::{ExactSum, Number};
use super::partial::{Fault, Partial, PartialGroup, PartialRows};
use super::sketch::{Quantiles, Registers};

/// The first byte. A reader refuses what it does not know.
const VERSION: u8 = 1;

impl Partial {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_len(self.limit, &mut out);
        put_len(self.groups, &mut out);
        put_len(self.faults.len(), &mut out);
        for ((place, message), fault) in &self.faults {
            let (tag, index) = match place {
                Place::Filter => (0, 0),
                Place::Group(i) => (1, *i),
                Place::Subject(i) => (2, *i),
            };
            out.push(tag);
            put(u128::from(index), &mut out);
            put_text(message, &mut out);
            put(u128::from(fault.count), &mut out);
            put_len(fault.examples.len(), &mut out);
            fault
                .examples
                .iter()
                .for_each(|name| put_text(name, &mut out));
        }
        match &self.rows {
            PartialRows::TooMany => out.push(0),
            PartialRows::Selected { total, first } => {
                out.push(1);
                put(u128::from(*total), &mut out);
                put_len(first.len(), &mut out);
                for (name, row) in first {
                    put_text(name, &mut out);
                    put_len(row.len(), &mut out);
                    for cell in row {
                        match cell {
                            Ok(cell) => put_cell(cell, &mut out),
                            Err(message) => {
                                out.push(b'!');
                                put_text(message, &mut out);
                            }
                        }
                    }
                }
            }
            PartialRows::Grouped(groups) => {
                out.push(2);
                put_len(groups.len(), &mut out);
                for (key, group) in groups {
                    put_len(key.len(), &mut out);
                    key.iter().for_each(|cell| put_cell(cell, &mut out));
                    put(u128::from(group.copies), &mut out);
                    put_len(group.parts.len(), &mut out);
                    group.parts.iter().for_each(|part| put_part(part, &mut out));
                }
            }
        }
        out
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Partial> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let (limit, groups) = (input.len()?, input.len()?);
        let mut faults = BTreeMap::new();
        for _ in 0..input.len()? {
            let (tag, index) = (input.byte()?, u16::try_from(input.number()?).ok()?);
            let place = match tag {
                0 => Place::Filter,
                1 => Place::Group(index),
                2 => Place::Subject(index),
                _ => return None,
            };
            let message = input.text()?;
            let count = input.count()?;
            let mut examples = BTreeSet::new();
            for _ in 0..input.len()? {
                examples.insert(input.text()?);
            }
            faults.insert((place, message), Fault { count, examples });
        }
        let rows = match input.byte()? {
            0 => PartialRows::TooMany,
            1 => {
                let total = input.count()?;
                let mut first = BTreeMap::new();
                for _ in 0..input.len()? {
                    let name = input.text()?;
                    let mut row = Vec::new();
                    for _ in 0..input.len()? {
                        row.push(if input.0.first() == Some(&b'!') {
                            input.byte()?;
                            Err(input.text()?)
                        } else {
                            Ok(input.cell()?)
                        });
                    }
                    first.insert(name, row);
                }
                PartialRows::Selected { total, first }
            }
            2 => {
                let mut groups = BTreeMap::new();
                for _ in 0..input.len()? {
                    let mut key = Vec::new();
                    for _ in 0..input.len()? {
                        key.push(input.cell()?);
                    }
                    let copies = input.count()?;
                    let mut parts = Vec::new();
                    for _ in 0..input.len()? {
                        parts.push(input.part()?);
                    }
                    groups.insert(key.into(), PartialGroup { copies, parts });
                }
                PartialRows::Grouped(groups)
            }
            _ => return None,
        };
        input.0.is_empty().then_some(Partial {
            limit,
            groups,
            rows,
            faults,
        })
    }
}

/// Seven bits a byte, least first.
fn put(mut n: u128, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_len(n: usize, out: &mut Vec<u8>) {
    put(n as u128, out);
}

fn put_int(i: i128, out: &mut Vec<u8>) {
    put((i << 1 ^ i >> 127) as u128, out);
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_len(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

fn put_number(number: Number, out: &mut Vec<u8>) {
    match number {
        Number::Int(i) => {
            out.push(b'i');
            put_int(i, out);
        }
        Number::Double(d) => {
            out.push(b'd');
            out.extend_from_slice(&d.to_bits().to_le_bytes());
        }
    }
}

/// A cell's bytes; also what its hash is taken of.
pub(crate) fn put_cell(cell: &Cell, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => out.push(b'n'),
        Cell::Bool(b) => out.push(if *b { b't' } else { b'f' }),
        Cell::Number(number) => put_number(*number, out),
        Cell::Text(text) => {
            out.push(b's');
            put_text(text, out);
        }
        Cell::List(text) => {
            out.push(b'l');
            put_text(text, out);
        }
        Cell::Map(text) => {
            out.push(b'm');
            put_text(text, out);
        }
    }
}

fn put_part(part: &Part, out: &mut Vec<u8>) {
    match part {
        Part::Presence(n) => {
            out.push(0);
            put(u128::from(*n), out);
        }
        Part::Sum(sum) => {
            out.push(1);
            let (count, ints, specials, words) = sum.parts();
            put(u128::from(count), out);
            put_int(ints, out);
            specials.into_iter().for_each(|n| put(u128::from(n), out));
            let words = words.map_or(&[][..], |words| &words[..]);
            put_len(words.len(), out);
            // Most words of a sum are all ones or all zeros: as signed numbers they are short.
            words
                .iter()
                .for_each(|word| put_int(i128::from(*word as i64), out));
        }
        Part::Order(found) => {
            out.push(2);
            out.push(u8::from(found.is_some()));
            if let Some((least, greatest)) = found {
                put_number(*least, out);
                put_number(*greatest, out);
            }
        }
        Part::Frequencies(map) => {
            out.push(3);
            put_len(map.len(), out);
            for (cell, times) in map {
                put_cell(cell, out);
                put(u128::from(*times), out);
            }
        }
        Part::Distinct(Registers(map)) => {
            out.push(4);
            put_len(map.len(), out);
            for (register, rank) in map {
                put(u128::from(*register), out);
                out.push(*rank);
            }
        }
        Part::Quantiles(Quantiles(map)) => {
            out.push(5);
            put_len(map.len(), out);
            for (bucket, times) in map {
                put_int(i128::from(*bucket), out);
                put(u128::from(*times), out);
            }
        }
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u128> {
        let mut n = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            n |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn int(&mut self) -> Option<i128> {
        let n = self.number()?;
        Some((n >> 1) as i128 ^ -((n & 1) as i128))
    }

    fn count(&mut self) -> Option<u64> {
        u64::try_from(self.number()?).ok()
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let n = self.len()?;
        std::str::from_utf8(self.take(n)?).ok().map(Arc::from)
    }

    fn double(&mut self) -> Option<f64> {
        let bytes: [u8; 8] = self.take(8)?.try_into().ok()?;
        Some(f64::from_bits(u64::from_le_bytes(bytes)))
    }

    fn numeral(&mut self) -> Option<Number> {
        match self.byte()? {
            b'i' => self.int().map(Number::Int),
            b'd' => self.double().map(Number::from_f64),
            _ => None,
        }
    }

    fn cell(&mut self) -> Option<Cell> {
        Some(match *self.0.first()? {
            b'i' | b'd' => Cell::Number(self.numeral()?),
            tag => {
                self.byte()?;
                match tag {
                    b'n' => Cell::Null,
                    b't' => Cell::Bool(true),
                    b'f' => Cell::Bool(false),
                    b's' => Cell::Text(self.text()?),
                    b'l' => Cell::List(self.text()?),
                    b'm' => Cell::Map(self.text()?),
                    _ => return None,
                }
            }
        })
    }

    fn part(&mut self) -> Option<Part> {
        Some(match self.byte()? {
            0 => Part::Presence(self.count()?),
            1 => {
                let (count, ints) = (self.count()?, self.int()?);
                let specials = [self.count()?, self.count()?, self.count()?];
                let mut words = Vec::new();
                for _ in 0..self.len()? {
                    words.push(i64::try_from(self.int()?).ok()? as u64);
                }
                let words = (!words.is_empty()).then_some(words);
                Part::Sum(ExactSum::from_parts(count, ints, specials, words)?)
            }
            2 => match self.byte()? {
                0 => Part::Order(None),
                1 => Part::Order(Some((self.numeral()?, self.numeral()?))),
                _ => return None,
            },
            3 => {
                let mut map = BTreeMap::new();
                for _ in 0..self.len()? {
                    map.insert(self.cell()?, self.count()?);
                }
                Part::Frequencies(map)
            }
            4 => {
                let mut map = BTreeMap::new();
                for _ in 0..self.len()? {
                    let register = u16::try_from(self.number()?).ok().filter(|r| *r < 1024)?;
                    map.insert(register, self.byte()?.min(63));
                }
                Part::Distinct(Registers(map))
            }
            5 => {
                let mut map = BTreeMap::new();
                for _ in 0..self.len()? {
                    map.insert(i32::try_from(self.int()?).ok()?, self.count()?);
                }
                Part::Quantiles(Quantiles(map))
            }
            _ => return None,
        })
    }
}
