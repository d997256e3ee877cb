//! Which types go with which: assignability with type variables, as upstream's checker decides it.

use std::sync::Arc;

use crate::types::Type;

/// The type of what is wrong. It goes with everything, so that what is wrong is said once.
pub(super) const WRONG: &str = "!error!";

/// What the type variables stand for. Trying is done on a copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Substitution(Vec<Option<Type>>);

impl Substitution {
    /// A new variable.
    pub(super) fn fresh(&mut self) -> Type {
        self.0.push(None);
        Type::Var((self.0.len() - 1) as u32)
    }

    fn find(&self, variable: u32) -> Option<&Type> {
        self.0.get(variable as usize).and_then(Option::as_ref)
    }

    fn set(&mut self, variable: u32, to: Type) {
        if let Some(place) = self.0.get_mut(variable as usize) {
            *place = Some(to);
        }
    }

    /// The type with all known variables replaced; unknown ones become `dyn` when `finally`.
    pub(super) fn apply(&self, of: &Type, finally: bool) -> Type {
        match of {
            Type::Var(variable) => match self.find(*variable) {
                Some(known) => self.apply(known, finally),
                None if finally => Type::Dyn,
                None => of.clone(),
            },
            Type::List(item) => Type::List(Arc::new(self.apply(item, finally))),
            Type::Map(key, value) => Type::Map(
                Arc::new(self.apply(key, finally)),
                Arc::new(self.apply(value, finally)),
            ),
            Type::Optional(value) => Type::Optional(Arc::new(self.apply(value, finally))),
            // Declared types have no variables within.
            other => other.clone(),
        }
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
        let mut tried = self.clone();
        let fits = to.iter().zip(from).all(|(to, from)| tried.fits(to, from));
        if fits {
            *self = tried;
        }
        fits
    }

    fn fits(&mut self, one: &Type, other: &Type) -> bool {
        let (one, other) = (one.plain(), other.plain());
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
        match what.plain() {
            Type::Var(other) => {
                *other == variable
                    || self
                        .find(*other)
                        .is_some_and(|known| self.within(variable, known))
            }
            Type::List(inner) | Type::Optional(inner) => self.within(variable, inner),
            Type::Map(key, value) => self.within(variable, key) || self.within(variable, value),
            _ => false,
        }
    }
}

/// Whether two types are one, whatever is noted about them.
pub(super) fn same(one: &Type, other: &Type) -> bool {
    match (one.plain(), other.plain()) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => same(a, b),
        (Type::Map(a, x), Type::Map(b, y)) => same(a, b) && same(x, y),
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
