//! Kubernetes' protobuf bodies (`application/vnd.kubernetes.protobuf`), decoded into the JSON they stand for.
//!
//! kubectl's typed commands (`create deployment`, `drain`, `auth can-i`, …) send them and have no fallback. Only kinds of
//! Kubernetes itself have this form; answers may always be JSON. The messages' numbers and names are facts beside the
//! schemas ([`crate::builtin`]), their types are the schemas'; what JSON leaves out when it is empty is left out here, too.

mod message;
mod special;
mod wire;

use serde_json::Value;

use crate::builtin::{DELETE_OPTIONS, component_of};
use wire::{Payload, Reader};

/// The content type of these bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Decodes a body into the object it holds, with its `apiVersion` and `kind`; the error says what is wrong with it.
pub fn decode(body: &[u8]) -> Result<Value, String> {
    let unknown = body.strip_prefix(MAGIC).ok_or(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    )?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut encoded = false;
    for field in Reader::new(unknown) {
        match field? {
            (1, Payload::Block(meta)) => {
                for field in Reader::new(meta) {
                    match field? {
                        (1, Payload::Block(text)) => api_version = wire::text(text)?,
                        (2, Payload::Block(text)) => kind = wire::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, Payload::Block(bytes)) => raw = bytes,
            (3, Payload::Block(encoding)) => encoded = !encoding.is_empty(),
            _ => {}
        }
    }
    if encoded {
        return Err("the body's content encoding is not supported".to_owned());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let component = match kind.as_str() {
        "DeleteOptions" => DELETE_OPTIONS,
        _ => component_of(group, version, &kind).ok_or_else(|| {
            format!("no kind \"{kind}\" of version \"{api_version}\" has a protobuf form")
        })?,
    };
    let mut object = message::decode(component, raw)?;
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

#[cfg(test)]
mod tests;
