//! A request, understood: where it goes, what it asks for, which form the answer should have.
//!
//! Everything here is pure and parses once at the border; nothing behind it looks at URLs or headers again.

mod body;
mod negotiate;
mod path;
mod query;

pub(crate) use body::{ContentType, content_type, drain, patch_type, read_body};
pub(crate) use negotiate::{Accept, Encoding, Form, Meta, openapi_v2_form};
pub(crate) use path::{
    Location, NonResource, Place, ResourcePath, Target, locate, percent_decode, target,
};
pub(crate) use query::Query;
