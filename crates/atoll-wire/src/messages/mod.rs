//! The messages, as protocol-buffer structs written by hand. Field numbers are the contract: never reuse one.
//!
//! The crate's documentation tells the conversation they form.

mod agent;
mod center;
mod enrolment;
mod identity;

pub use agent::*;
pub use center::*;
pub use enrolment::*;
pub use identity::*;

macro_rules! wrap {
    ($outer:ident, $module:ident, $($inner:ident),+) => {$(
        impl From<$inner> for $module::Message {
            fn from(message: $inner) -> Self { $module::Message::$inner(message) }
        }
    )+
        impl $outer {
            /// Addresses a message to, or speaks it for, a destination.
            pub fn new(destination: impl Into<String>, message: impl Into<$module::Message>) -> Self {
                Self { destination: destination.into(), message: Some(message.into()), handles: Vec::new() }
            }

            /// The same for destinations of a hub, by their handles.
            pub fn for_handles(handles: Vec<u32>, message: impl Into<$module::Message>) -> Self {
                Self { destination: String::new(), message: Some(message.into()), handles }
            }
        }
    };
}
wrap!(
    ToCenter,
    to_center,
    Hello,
    Holding,
    Need,
    Progress,
    Report,
    TombstoneDone,
    RawStatus,
    Ping,
    Leave,
    Born
);
wrap!(
    ToAgent,
    to_agent,
    Welcome,
    List,
    Desired,
    Bodies,
    Tombstone,
    Released,
    ReportAck,
    FetchStatus,
    Resumed,
    Refused,
    Pong,
    Gather
);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.store, self.incarnation, self.revision)
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ErrorKind::None => "None",
            ErrorKind::Other => "Error",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::Invalid => "Invalid",
            ErrorKind::AlreadyExists => "AlreadyExists",
            ErrorKind::Conflict => "Conflict",
            ErrorKind::KindNotServed => "KindNotServed",
            ErrorKind::Unreachable => "Unreachable",
            ErrorKind::Waiting => "Waiting",
            ErrorKind::Refused => "Refused",
            ErrorKind::Immutable => "Immutable",
            ErrorKind::NotEmpty => "NotEmpty",
            ErrorKind::Terminating => "Terminating",
        })
    }
}
