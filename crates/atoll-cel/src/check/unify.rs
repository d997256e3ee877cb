//! Which types go with which: assignability with type variables, as upstream's checker decides it.

use std::cell::Cell;
use std::sync::Arc;

use crate::types::Type;

/// The type of what is wrong. It goes with everything, so that what is wrong is said once.
pub(super) const WRONG: &str = "!error!";

/// How much work all of a text's types may be, how deep one may be, and how large one that is written out.
const WORK: u32 = 4_000_000;
const DEPTH: u32 = 300;
const SIZE: u32 = 2_000;

/// What the type variables stand for.
///
/// Variables can stand for types of variables, so that a small text can mean a type that is exponentially large, or thousands of levels deep. Work and
/// depth are counted: beyond the limits every answer is quick and wrong, and [`Substitution::too_complex`] says so.
#[derive(Debug, Default)]
pub(super) struct Substitution {
    known: Vec<Option<Type>>,
    /// What was changed since the attempt began: taken back when it fails.
    changed: Vec<(u32, Option<Type>)>,
    work: Cell<u32>,
    depth: Cell<u32>,
}

impl Substitution {
    /// A new variable.
    pub(super) fn fresh(&mut self) -> Type {
        self.known.push(None);
        Type::Var((self.known.len() - 1) as u32)
    }

    /// Whether the types were too much; no answer counts then.
    pub(super) fn too_complex(&self) -> bool {
        self.work.get() >= WORK
    }

    /// Goes one level into a type, if that is still allowed.
    fn enter<T>(&self, otherwise: T, inside: impl FnOnce() -> T) -> T {
        let (work, depth) = (self.work.get() + 1, self.depth.get());
        self.work
            .set(if depth >= DEPTH { WORK } else { work.min(WORK) });
        if self.too_complex() {
            return otherwise;
        }
        self.depth.set(depth + 1);
        let result = inside();
        self.depth.set(depth);
        result
    }

    fn find(&self, variable: u32) -> Option<&Type> {
        self.known.get(variable as usize).and_then(Option::as_ref)
    }

    fn set(&mut self, variable: u32, to: Type) {
        if let Some(place) = self.known.get_mut(variable as usize) {
            let before = place.replace(to);
            self.changed.push((variable, before));
        }
    }

    /// The type with all known variables replaced; unknown ones become `dyn` when `finally`.
    pub(super) fn apply(&self, of: &Type, finally: bool) -> Type {
        self.write_out(of, finally, &mut 0)
    }

    fn write_out(&self, of: &Type, finally: bool, size: &mut u32) -> Type {
        *size += 1;
        if *size > SIZE {
            self.work.set(WORK);
        }
        self.enter(Type::Dyn, || match of {
            Type::Var(variable) => match self.find(*variable) {
                Some(known) => self.write_out(known, finally, size),
                None if finally => Type::Dyn,
                None => of.clone(),
            },
            Type::List(item) => Type::list(self.write_out(item, finally, size)),
            Type::Map(key, value) => Type::Map(
                Arc::new(self.write_out(key, finally, size)),
                Arc::new(self.write_out(value, finally, size)),
            ),
            Type::Optional(value) => self.write_out(value, finally, size).optional(),
            // Declared types have no variables within.
            other => other.clone(),
        })
    }

    /// Whether a value of type `from` may be used as `to`; if so, the variables know more than before.
    pub(super) fn assign(&mut self, to: &Type, from: &Type) -> bool {
        self.assign_all(std::slice::from_ref(to), std::slice::from_ref(from))
    }

    /// All of them, or none.
    pub(super) fn assign_all(&mut self, to: &[Type], from: &[Type]) -> bool {
        if to.len() != from.len() {
            return false;
        }
        self.changed.clear();
        let fits = to.iter().zip(from).all(|(to, from)| self.fits(to, from));
        if !fits {
            while let Some((variable, before)) = self.changed.pop() {
                self.known[variable as usize] = before;
            }
        }
        fits
    }

    fn fits(&mut self, one: &Type, other: &Type) -> bool {
        let depth = self.depth.get();
        self.work.set(if depth >= DEPTH {
            WORK
        } else {
            (self.work.get() + 1).min(WORK)
        });
        if self.too_complex() {
            return true;
        }
        self.depth.set(depth + 1);
        let fits = self.fits_inside(one.plain(), other.plain());
        self.depth.set(depth);
        fits
    }

    fn fits_inside(&mut self, one: &Type, other: &Type) -> bool {
        if let Type::Var(variable) = other {
            match self.stands_for(*variable, one) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Var(variable) = one {
            return self.stands_for(*variable, other).0;
        }
        match (one, other) {
            (Type::Dyn | Type::Opaque(WRONG), _) | (_, Type::Dyn | Type::Opaque(WRONG)) => true,
            (Type::Null, other) | (other, Type::Null) => {
                matches!(
                    other,
                    Type::Null
                        | Type::Opaque(_)
                        | Type::Optional(_)
                        | Type::Object(_)
                        | Type::Duration
                        | Type::Timestamp
                )
            }
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.fits(a, b)
            }
            (Type::Map(a, x), Type::Map(b, y)) => self.fits(a, b) && self.fits(x, y),
            (a, b) => same(a, b),
        }
    }

    /// Whether a variable can stand for a type, and whether it stood for something before.
    fn stands_for(&mut self, variable: u32, what: &Type) -> (bool, bool) {
        if matches!(what, Type::Var(other) if *other == variable) {
            return (true, true);
        }
        if let Some(known) = self.find(variable).cloned() {
            if same(&known, what) {
                return (true, true);
            }
            if !self.fits(what, &known) {
                return (false, true);
            }
            let general = if less_specific(what, &known) {
                what.clone()
            } else {
                known
            };
            if !self.within(variable, &general) {
                self.set(variable, general);
            }
            return (true, true);
        }
        if self.within(variable, what) {
            return (false, false);
        }
        self.set(variable, what.clone());
        (true, false)
    }

    /// Whether a variable occurs in a type.
    fn within(&self, variable: u32, what: &Type) -> bool {
        self.enter(false, || match what.plain() {
            Type::Var(other) => {
                *other == variable
                    || self
                        .find(*other)
                        .is_some_and(|known| self.within(variable, known))
            }
            Type::List(inner) | Type::Optional(inner) => self.within(variable, inner),
            Type::Map(key, value) => self.within(variable, key) || self.within(variable, value),
            _ => false,
        })
    }
}

/// Whether two types are one, whatever is noted about them.
pub(super) fn same(one: &Type, other: &Type) -> bool {
    match (one.plain(), other.plain()) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            Arc::ptr_eq(a, b) || same(a, b)
        }
        (Type::Map(a, x), Type::Map(b, y)) => {
            (Arc::ptr_eq(a, b) || same(a, b)) && (Arc::ptr_eq(x, y) || same(x, y))
        }
        (Type::Object(a), Type::Object(b)) => Arc::ptr_eq(a, b) || a == b,
        (a, b) => a == b,
    }
}

/// Whether a type says no more than another.
fn less_specific(one: &Type, other: &Type) -> bool {
    match (one.plain(), other.plain()) {
        (Type::Dyn | Type::Var(_), _) => true,
        (_, Type::Dyn | Type::Var(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            less_specific(a, b)
        }
        (Type::Map(a, x), Type::Map(b, y)) => less_specific(a, b) && less_specific(x, y),
        (a, b) => same(a, b),
    }
}

/// The more general of two types that go together.
pub(super) fn most_general(one: Type, other: Type) -> Type {
    if less_specific(&one, &other) {
        one
    } else {
        other
    }
}
