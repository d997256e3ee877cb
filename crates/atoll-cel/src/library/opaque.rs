//! Values that only the libraries look into.

use std::fmt;

use super::addresses::{Address, Block};
use super::authorizer::{Answer, Asked};
use super::formats::Format;
use super::quantity::Quantity;
use super::semver::Semver;
use super::urls::Url;

pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";

pub(crate) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Opaque {
    Quantity(Quantity),
    Url(Url),
    Ip(Address),
    Cidr(Block),
    Semver(Semver),
    Format(&'static Format),
    Asked(Asked),
    Decision(Answer),
}

/// The value of a type that a text writes.
pub(crate) fn read(kind: &str, text: &str) -> Option<Opaque> {
    match kind {
        QUANTITY => Quantity::parse(text).ok().map(Opaque::Quantity),
        URL => Url::parse(text).ok().map(Opaque::Url),
        IP => Address::parse(text).ok().map(Opaque::Ip),
        CIDR => Block::parse(text).ok().map(Opaque::Cidr),
        SEMVER => Semver::parse(text, false).ok().map(Opaque::Semver),
        _ => None,
    }
}

impl Opaque {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Opaque::Quantity(_) => QUANTITY,
            Opaque::Url(_) => URL,
            Opaque::Ip(_) => IP,
            Opaque::Cidr(_) => CIDR,
            Opaque::Semver(_) => SEMVER,
            Opaque::Format(_) => FORMAT,
            Opaque::Asked(asked) => asked.step,
            Opaque::Decision(_) => DECISION,
        }
    }

    /// The size upstream's costs count: bytes of an address.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Opaque::Ip(address) => address.bytes(),
            Opaque::Cidr(block) => block.bytes(),
            _ => 1,
        }
    }

    /// The length of the pattern that a format stands for.
    pub(crate) fn pattern_size(&self) -> u64 {
        match self {
            Opaque::Format(format) => format.pattern_size,
            _ => 1,
        }
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opaque::Quantity(quantity) => quantity.fmt(f),
            Opaque::Url(url) => url.fmt(f),
            Opaque::Ip(address) => address.fmt(f),
            Opaque::Cidr(block) => block.fmt(f),
            Opaque::Semver(version) => version.fmt(f),
            Opaque::Format(format) => f.write_str(format.name),
            Opaque::Asked(_) | Opaque::Decision(_) => f.write_str(self.type_name()),
        }
    }
}
