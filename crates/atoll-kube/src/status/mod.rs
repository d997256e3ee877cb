//! The answer "no": Kubernetes' `Status`, the one error type that reaches clients.
//!
//! Constructors are named after what went wrong and word it as Kubernetes does, because clients (kubectl among them)
//! match on code, reason and sometimes text. A Status can also say "Success", which is what some deletes answer.

mod field;
mod make;

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use field::{FieldError, FieldErrorKind, aggregate, child, index, key, quote};
pub use make::{duplicate_field, unknown_field};

/// Why a request failed, for machines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Kubernetes' own names, one to one
pub enum Reason {
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    Invalid,
    ServerTimeout,
    StoreReadError,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    ServiceUnavailable,
    /// A reason this program has no name for, as another server sent it.
    Other(String),
}

impl Reason {
    const NAMED: [(Self, &'static str); 20] = [
        (Self::Unknown, ""),
        (Self::Unauthorized, "Unauthorized"),
        (Self::Forbidden, "Forbidden"),
        (Self::NotFound, "NotFound"),
        (Self::AlreadyExists, "AlreadyExists"),
        (Self::Conflict, "Conflict"),
        (Self::Gone, "Gone"),
        (Self::Expired, "Expired"),
        (Self::Invalid, "Invalid"),
        (Self::ServerTimeout, "ServerTimeout"),
        (Self::StoreReadError, "StorageReadError"),
        (Self::Timeout, "Timeout"),
        (Self::TooManyRequests, "TooManyRequests"),
        (Self::BadRequest, "BadRequest"),
        (Self::MethodNotAllowed, "MethodNotAllowed"),
        (Self::NotAcceptable, "NotAcceptable"),
        (Self::RequestEntityTooLarge, "RequestEntityTooLarge"),
        (Self::UnsupportedMediaType, "UnsupportedMediaType"),
        (Self::InternalError, "InternalError"),
        (Self::ServiceUnavailable, "ServiceUnavailable"),
    ];

    /// The text in a Status' `reason`.
    pub fn as_str(&self) -> &str {
        if let Self::Other(text) = self {
            return text;
        }
        Self::NAMED
            .iter()
            .find(|(r, _)| r == self)
            .map_or("", |(_, name)| name)
    }

    /// The inverse of [`Reason::as_str`].
    pub fn parse(text: &str) -> Self {
        Self::NAMED
            .iter()
            .find(|(_, name)| *name == text)
            .map_or_else(|| Self::Other(text.to_owned()), |(r, _)| r.clone())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of several things that are wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatusCause {
    /// Machine readable kind of the cause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field's path, where the cause concerns one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What a Status is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusDetails {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind or (as Kubernetes does it mostly) resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Each thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// When to try again.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature serde wants
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Kubernetes' `Status`: an error (or, rarely, a success) as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// For machines.
    pub reason: Reason,
    /// For people.
    pub message: Cow<'static, str>,
    /// What it is about.
    pub details: Option<Box<StatusDetails>>,
    /// With an expired continue token: one that goes on from there, without consistency.
    pub continue_token: Option<Box<str>>,
}

impl Status {
    /// Whether this says "Success".
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The details, made when absent.
    pub fn details_mut(&mut self) -> &mut StatusDetails {
        self.details.get_or_insert_default()
    }

    /// The same, to be tried again after `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details_mut().retry_after_seconds = seconds;
        self
    }

    /// The same, with one more cause.
    #[must_use]
    pub fn cause(
        mut self,
        reason: impl Into<String>,
        message: impl Into<String>,
        field: impl Into<String>,
    ) -> Self {
        self.details_mut().causes.push(StatusCause {
            reason: reason.into(),
            message: message.into(),
            field: field.into(),
        });
        self
    }

    /// Whether the reason is NotFound.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// Whether the reason is Conflict (a lost race, not an existing name).
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }

    /// Whether the reason is AlreadyExists.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }

    /// The JSON sent to the client.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // strings and numbers only: cannot fail
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    continue_token: Option<Box<str>>,
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Status", 8)?;
        s.serialize_field("kind", "Status")?;
        s.serialize_field("apiVersion", "v1")?;
        let metadata = ListMeta {
            continue_token: self.continue_token.clone(),
        };
        s.serialize_field("metadata", &metadata)?;
        s.serialize_field(
            "status",
            if self.is_success() {
                "Success"
            } else {
                "Failure"
            },
        )?;
        if !self.message.is_empty() {
            s.serialize_field("message", &self.message)?;
        }
        if self.reason != Reason::Unknown {
            s.serialize_field("reason", self.reason.as_str())?;
        }
        if let Some(details) = &self.details {
            s.serialize_field("details", details)?;
        }
        s.serialize_field("code", &self.code)?;
        s.end()
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Wire {
            metadata: ListMeta,
            message: String,
            reason: String,
            details: Option<Box<StatusDetails>>,
            code: u16,
        }
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            code: wire.code,
            reason: Reason::parse(&wire.reason),
            message: wire.message.into(),
            details: wire.details,
            continue_token: wire.metadata.continue_token,
        })
    }
}
