//! The functions of Kubernetes 1.36: what they are called, which types they take, what they cost, what they do.
//!
//! Each module below is one library: a table of [`Entry`]s. A signature is written as upstream names it: `contains_string: string.(string) -> bool` is a
//! member, `matches: (string, string) -> bool` is not; single capitals are type parameters. The tables are read once.

mod addresses;
pub(crate) mod authorizer;
pub(crate) mod charge;
pub(crate) mod convert;
mod formats;
mod formatting;
mod lists;
pub(crate) mod opaque;
mod operators;
mod optional;
pub(crate) mod patterns;
mod quantity;
mod semver;
mod sets;
mod strings;
mod times;
mod urls;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::eval::machine::{Evaluated, Machine};
use crate::eval::val::Val;
use crate::types::Type;
pub(crate) use charge::Charge;

/// All libraries.
const TABLES: [&[Entry]; 15] = [
    operators::TABLE,
    convert::TABLE,
    strings::TABLE,
    formatting::TABLE,
    patterns::TABLE,
    lists::TABLE,
    sets::TABLE,
    optional::TABLE,
    times::TABLE,
    quantity::TABLE,
    semver::TABLE,
    urls::TABLE,
    addresses::TABLE,
    formats::TABLE,
    authorizer::TABLE,
];

/// What a function does; a receiver is the first argument.
pub(crate) type Run = for<'a> fn(&mut Machine, &[Val<'a>]) -> Evaluated<Val<'a>>;

/// One function of a library, as its table has it.
struct Entry {
    name: &'static str,
    charge: Charge,
    run: Run,
    overloads: &'static [&'static str],
}

const fn entry(
    name: &'static str,
    charge: Charge,
    run: Run,
    overloads: &'static [&'static str],
) -> Entry {
    Entry {
        name,
        charge,
        run,
        overloads,
    }
}

/// A function, ready for the checker.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) charge: Charge,
    pub(crate) run: Run,
    pub(crate) overloads: Vec<Overload>,
}

/// One typing of a function. Type parameters are [`Type::Var`]s from 0.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    pub(crate) arguments: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) parameters: u32,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The function of a name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    static ALL: OnceLock<HashMap<&'static str, Function>> = OnceLock::new();
    ALL.get_or_init(build).get(name)
}

/// The type that a name is, as a value.
pub(crate) fn type_named(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 26] = [
        "bool",
        "bytes",
        "double",
        "dyn",
        "int",
        "list",
        "map",
        "null_type",
        "optional_type",
        "string",
        "type",
        "uint",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        opaque::QUANTITY,
        opaque::URL,
        opaque::IP,
        opaque::CIDR,
        opaque::SEMVER,
        opaque::FORMAT,
        opaque::AUTHORIZER,
        opaque::PATH_CHECK,
        opaque::GROUP_CHECK,
        opaque::RESOURCE_CHECK,
        opaque::DECISION,
        "google.protobuf.NullValue",
    ];
    NAMES.into_iter().find(|known| *known == name)
}

/// The letters of a format's clauses, in order; in words what is wrong with it.
pub(crate) fn format_clauses(format: &str) -> Result<Vec<char>, String> {
    let pieces = formatting::pieces(format)?;
    Ok(pieces
        .into_iter()
        .filter_map(|piece| {
            if let formatting::Piece::Clause { letter, .. } = piece {
                Some(letter)
            } else {
                None
            }
        })
        .collect())
}

fn build() -> HashMap<&'static str, Function> {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for Entry {
        name,
        charge,
        run,
        overloads,
    } in TABLES.into_iter().flatten()
    {
        let function = functions.entry(name).or_insert_with(|| Function {
            name,
            charge: *charge,
            run: *run,
            overloads: Vec::new(),
        });
        function.overloads.extend(
            overloads
                .iter()
                .filter_map(|written| Overload::read(written)),
        );
    }
    functions
}

impl Overload {
    /// Reads a signature of a table; tables are right (a test reads them all).
    fn read(written: &'static str) -> Option<Overload> {
        let (id, signature) = written.split_once(": ")?;
        let (from, to) = signature.split_once(" -> ")?;
        let open = match from.strip_suffix(')')?.strip_prefix('(') {
            Some(arguments) => (None, arguments),
            None => {
                let (receiver, arguments) = from.strip_suffix(')')?.split_once(".(")?;
                (Some(receiver), arguments)
            }
        };
        let mut parameters = Vec::new();
        let mut arguments = Vec::new();
        for argument in open.0.into_iter().chain(split(open.1)) {
            arguments.push(read_type(argument, &mut parameters)?);
        }
        let result = read_type(to, &mut parameters)?;
        Some(Overload {
            id,
            member: open.0.is_some(),
            arguments,
            result,
            parameters: parameters.len() as u32,
        })
    }
}

/// The parts of a list with commas, brackets respected.
fn split(list: &'static str) -> Vec<&'static str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !list[start..].trim().is_empty() {
        parts.push(list[start..].trim());
    }
    parts
}

fn read_type(written: &'static str, parameters: &mut Vec<&'static str>) -> Option<Type> {
    if let Some((outer, inner)) = written
        .strip_suffix(')')
        .and_then(|written| written.split_once('('))
    {
        let mut inner = split(inner)
            .into_iter()
            .map(|part| read_type(part, parameters));
        return Some(match outer {
            "list" => Type::List(Arc::new(inner.next()??)),
            "optional" => Type::Optional(Arc::new(inner.next()??)),
            "map" => Type::Map(Arc::new(inner.next()??), Arc::new(inner.next()??)),
            _ => return None,
        });
    }
    Some(match written {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::TypeOf,
        name if name.len() == 1 => {
            let known = parameters.iter().position(|parameter| *parameter == name);
            Type::Var(known.unwrap_or_else(|| {
                parameters.push(name);
                parameters.len() - 1
            }) as u32)
        }
        name => Type::Opaque(type_named(name)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_is_read() {
        assert!(find("matches").is_some_and(|matches| matches.overloads.len() == 2));
        for entry in TABLES.into_iter().flatten() {
            for written in entry.overloads {
                assert!(Overload::read(written).is_some(), "{written}");
            }
        }
    }
}
