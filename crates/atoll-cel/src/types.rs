//! The types of expressions.
//!
//! [`Type::Dyn`] is the type of what is not known before evaluation. [`Type::Object`] is a JSON object whose fields are declared:
//! selecting another is a compile error, and values are read as declared (an `int` in a `double` field is a double, a `date-time` string a
//! timestamp). [`Type::Noted`] adds what a schema says beyond the type: how large a value can be, and how a list is compared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Not known before evaluation; every operation is allowed and checked when it runs.
    Dyn,
    /// The type of `null`.
    Null,
    /// `true` and `false`.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// A 64-bit float.
    Double,
    /// Unicode text.
    String,
    /// Bytes; in JSON, base64 text.
    Bytes,
    /// An instant; in JSON, RFC 3339 text (a date is an instant too: its midnight in UTC).
    Timestamp,
    /// A span of time; in JSON, Go's notation (`1h30m`).
    Duration,
    /// A list and the type of its items.
    List(Arc<Type>),
    /// A map and the types of its keys and values.
    Map(Arc<Type>, Arc<Type>),
    /// A JSON object with declared fields.
    Object(Arc<ObjectType>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// The type of types: of `int`, and of `type(x)`.
    TypeOf,
    /// A type of the libraries that only its own functions can look into, by upstream's name: `kubernetes.Quantity`, `kubernetes.URL`, `net.IP`, …
    Opaque(&'static str),
    /// A type with facts about its values.
    Noted(Arc<Noted>),
    /// A type still to be inferred: only inside the checker.
    #[doc(hidden)]
    Var(u32),
}

/// A type with facts about its values; see [`Type::at_most`] and [`Type::compared_as`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub(crate) inner: Type,
    pub(crate) bounds: Bounds,
}

/// What a schema says about values beyond their type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The most characters of a string, bytes, items of a list, or entries of a map. Absent: unbounded, and loops over it are unboundedly dear.
    pub max_size: Option<u64>,
    /// How lists are compared and added.
    pub list: ListKind,
}

/// How two lists are compared (`==`) and added (`+`): `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// In order; adding appends.
    #[default]
    Atomic,
    /// Order does not matter; adding makes the union.
    Set,
    /// Items are told apart by these properties, order does not matter; adding replaces items of equal keys and appends the others.
    Map(Vec<String>),
}

/// An object with declared fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectType {
    name: String,
    fields: BTreeMap<String, Field>,
}

/// One declared field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The property's name in JSON.
    pub property: String,
    /// The type of its values.
    pub value: Type,
    /// Whether `null` is a value of it. Otherwise a null property counts as absent.
    pub nullable: bool,
}

impl ObjectType {
    /// An object without fields; the name is what messages and `type(x)` show.
    pub fn new(name: impl Into<String>) -> ObjectType {
        ObjectType {
            name: name.into(),
            fields: BTreeMap::new(),
        }
    }

    /// Adds the field of a JSON property, selected by its escaped name ([`crate::escape`]). A property that no identifier can name is left out, as upstream does.
    pub fn field(self, property: impl Into<String>, value: Type) -> ObjectType {
        self.add(property.into(), value, false)
    }

    /// Adds a field selected by its very name, also where that is a reserved word.
    #[must_use]
    pub fn unescaped(mut self, property: impl Into<String>, value: Type) -> ObjectType {
        let property = property.into();
        let field = Field {
            property: property.clone(),
            value,
            nullable: false,
        };
        self.fields.insert(property, field);
        self
    }

    /// Adds a field that may be `null`.
    pub fn nullable(self, property: impl Into<String>, value: Type) -> ObjectType {
        self.add(property.into(), value, true)
    }

    fn add(mut self, property: String, value: Type, nullable: bool) -> ObjectType {
        if let Some(identifier) = crate::escape(&property) {
            self.fields.insert(
                identifier,
                Field {
                    property,
                    value,
                    nullable,
                },
            );
        }
        self
    }

    /// The name given to [`ObjectType::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field selected by an identifier.
    pub fn get(&self, identifier: &str) -> Option<&Field> {
        self.fields.get(identifier)
    }

    /// All fields by the identifiers that select them.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.fields
            .iter()
            .map(|(identifier, field)| (identifier.as_str(), field))
    }
}

impl Type {
    /// A list of `item`.
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    /// A map from strings, as JSON objects are.
    pub fn map(value: Type) -> Type {
        Type::Map(Arc::new(Type::String), Arc::new(value))
    }

    /// A value of this type, or nothing.
    pub fn optional(self) -> Type {
        Type::Optional(Arc::new(self))
    }

    /// This type, with values of at most this size (`maxLength`, `maxItems`, `maxProperties`).
    pub fn at_most(self, max_size: u64) -> Type {
        self.noted(|bounds| bounds.max_size = Some(max_size))
    }

    /// This list type, compared and added as `kind` says.
    pub fn compared_as(self, kind: ListKind) -> Type {
        self.noted(|bounds| bounds.list = kind)
    }

    fn noted(self, note: impl FnOnce(&mut Bounds)) -> Type {
        let mut noted = match self {
            Type::Noted(noted) => Noted::clone(&noted),
            inner => Noted {
                inner,
                bounds: Bounds::default(),
            },
        };
        note(&mut noted.bounds);
        Type::Noted(Arc::new(noted))
    }

    /// The type without its notes.
    pub fn plain(&self) -> &Type {
        match self {
            Type::Noted(noted) => noted.inner.plain(),
            other => other,
        }
    }

    /// What is noted about values of this type.
    pub fn bounds(&self) -> Option<&Bounds> {
        match self {
            Type::Noted(noted) => Some(&noted.bounds),
            _ => None,
        }
    }
}

impl From<ObjectType> for Type {
    fn from(object: ObjectType) -> Type {
        Type::Object(Arc::new(object))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Object(object) => f.write_str(object.name()),
            Type::Optional(value) => write!(f, "optional_type({value})"),
            Type::TypeOf => f.write_str("type"),
            Type::Opaque(name) => f.write_str(name),
            Type::Noted(noted) => noted.inner.fmt(f),
            Type::Var(_) => f.write_str("dyn"),
        }
    }
}
