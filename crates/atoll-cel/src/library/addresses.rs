//! IP addresses and blocks of them, as Go's `net/netip` reads them. No zones, no IPv4 within IPv6.

use std::fmt;
use std::net::IpAddr;

use super::opaque::Opaque;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;

pub(super) const TABLE: &[Entry] = &[
    entry(
        "ip",
        Charge::Ip,
        ip,
        &[
            "string_to_ip: (string) -> net.IP",
            "cidr_ip: net.CIDR.() -> net.IP",
        ],
    ),
    entry(
        "isIP",
        Charge::Traverse,
        is_ip,
        &["is_ip: (string) -> bool"],
    ),
    entry(
        "ip.isCanonical",
        Charge::Canonical,
        is_canonical,
        &["ip_is_canonical: (string) -> bool"],
    ),
    entry(
        "family",
        Charge::One,
        family,
        &["ip_family: net.IP.() -> int"],
    ),
    entry(
        "isUnspecified",
        Charge::One,
        is_unspecified,
        &["ip_is_unspecified: net.IP.() -> bool"],
    ),
    entry(
        "isLoopback",
        Charge::One,
        is_loopback,
        &["ip_is_loopback: net.IP.() -> bool"],
    ),
    entry(
        "isLinkLocalMulticast",
        Charge::One,
        is_link_local_multicast,
        &["ip_is_link_local_multicast: net.IP.() -> bool"],
    ),
    entry(
        "isLinkLocalUnicast",
        Charge::One,
        is_link_local_unicast,
        &["ip_is_link_local_unicast: net.IP.() -> bool"],
    ),
    entry(
        "isGlobalUnicast",
        Charge::One,
        is_global_unicast,
        &["ip_is_global_unicast: net.IP.() -> bool"],
    ),
    entry(
        "cidr",
        Charge::Traverse,
        cidr,
        &["string_to_cidr: (string) -> net.CIDR"],
    ),
    entry(
        "isCIDR",
        Charge::Traverse,
        is_cidr,
        &["is_cidr: (string) -> bool"],
    ),
    entry(
        "containsIP",
        Charge::ContainsIp,
        contains_ip,
        &[
            "cidr_contains_ip_string: net.CIDR.(string) -> bool",
            "cidr_contains_ip_ip: net.CIDR.(net.IP) -> bool",
        ],
    ),
    entry(
        "containsCIDR",
        Charge::ContainsCidr,
        contains_cidr,
        &[
            "cidr_contains_cidr_string: net.CIDR.(string) -> bool",
            "cidr_contains_cidr: net.CIDR.(net.CIDR) -> bool",
        ],
    ),
    entry(
        "prefixLength",
        Charge::One,
        prefix_length,
        &["cidr_prefix_length: net.CIDR.() -> int"],
    ),
    entry(
        "masked",
        Charge::One,
        masked,
        &["cidr_masked: net.CIDR.() -> net.CIDR"],
    ),
];

/// An address.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Address(IpAddr);

/// A block of addresses: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Block {
    address: IpAddr,
    bits: u8,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Address, String> {
        if text.contains('%') && text.contains(':') {
            return Err(format!(
                "IP address {text:?} with zone value is not allowed"
            ));
        }
        let address = parse(text).ok_or_else(|| format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"))?;
        refuse_mapped(address, text)?;
        Ok(Address(address))
    }

    pub(super) fn bytes(self) -> u64 {
        if self.0.is_ipv4() { 4 } else { 16 }
    }
}

fn parse(text: &str) -> Option<IpAddr> {
    // The longest address is 45 characters.
    (text.len() <= 45).then(|| text.parse().ok()).flatten()
}

fn refuse_mapped(address: IpAddr, text: &str) -> Result<(), String> {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        _ => Ok(()),
    }
}

impl Block {
    pub(super) fn parse(text: &str) -> Result<Block, String> {
        let wrong = |why: &str| {
            format!(
                "network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}"
            )
        };
        let (address, bits) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
        let address = parse(address)
            .ok_or_else(|| wrong(&format!("ParseAddr({address:?}): unable to parse IP")))?;
        let plain = !bits.is_empty()
            && bits.len() <= 3
            && bits.bytes().all(|b| b.is_ascii_digit())
            && (bits == "0" || !bits.starts_with('0'));
        let bits = plain
            .then(|| bits.parse::<u8>().ok())
            .flatten()
            .ok_or_else(|| wrong(&format!("bad bits after slash: {bits:?}")))?;
        if bits > width(address) {
            return Err(wrong("prefix length out of range"));
        }
        refuse_mapped(address, text)?;
        Ok(Block { address, bits })
    }

    pub(super) fn bytes(self) -> u64 {
        u64::from(self.bits).div_ceil(8)
    }

    /// The bits of an address that this block's length keeps.
    fn kept(self, address: IpAddr) -> u128 {
        let shift = u32::from(width(address) - self.bits.min(width(address)));
        number(address).checked_shr(shift).unwrap_or(0)
    }

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && self.kept(self.address) == self.kept(address)
    }

    fn masked(self) -> Block {
        let shift = u32::from(width(self.address) - self.bits);
        let number = self.kept(self.address).checked_shl(shift).unwrap_or(0);
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4((number as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(number.into()),
        };
        Block {
            address,
            bits: self.bits,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // Only mapped addresses are written with dots, and those are refused.
            IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && v6.segments()[6] != 0 => {
                write!(f, "::{:x}:{:x}", v6.segments()[6], v6.segments()[7])
            }
            other => other.fmt(f),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Address(self.address), self.bits)
    }
}

fn address<'v>(arguments: &'v [Val<'_>]) -> Evaluated<&'v IpAddr> {
    if let [Val::Opaque(opaque)] = arguments
        && let Opaque::Ip(Address(address)) = &**opaque
    {
        return Ok(address);
    }
    Err(Stop::no_overload())
}

fn block(value: &Val<'_>) -> Evaluated<Block> {
    if let Val::Opaque(opaque) = value
        && let Opaque::Cidr(block) = &**opaque
    {
        return Ok(*block);
    }
    Err(Stop::no_overload())
}

fn ip<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => Ok(Val::opaque(Opaque::Ip(
            Address::parse(text.as_str()).map_err(Stop::fault)?,
        ))),
        [value] => Ok(Val::opaque(Opaque::Ip(Address(block(value)?.address)))),
        _ => Err(Stop::no_overload()),
    }
}

fn is_ip<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => Ok(Val::Bool(Address::parse(text.as_str()).is_ok())),
        _ => Err(Stop::no_overload()),
    }
}

fn is_canonical<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    let address = Address::parse(text.as_str()).map_err(Stop::fault)?;
    Ok(Val::Bool(address.to_string() == text.as_str()))
}

fn family<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Int(if address(arguments)?.is_ipv4() { 4 } else { 6 }))
}

fn is_unspecified<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Bool(address(arguments)?.is_unspecified()))
}

fn is_loopback<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Bool(address(arguments)?.is_loopback()))
}

fn link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Bool(link_local_multicast(address(arguments)?)))
}

fn is_link_local_unicast<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Bool(link_local_unicast(address(arguments)?)))
}

fn is_global_unicast<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let address = address(arguments)?;
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    Ok(Val::Bool(
        !broadcast
            && !address.is_unspecified()
            && !address.is_loopback()
            && !address.is_multicast()
            && !link_local_unicast(address),
    ))
}

fn cidr<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    let block = Block::parse(text.as_str()).map_err(|why| {
        Stop::fault(format!(
            "network address parse error during conversion from string: {why}"
        ))
    })?;
    Ok(Val::opaque(Opaque::Cidr(block)))
}

fn is_cidr<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text)] => Ok(Val::Bool(Block::parse(text.as_str()).is_ok())),
        _ => Err(Stop::no_overload()),
    }
}

fn contains_ip<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [whole, part] = arguments else {
        return Err(Stop::no_overload());
    };
    let part = match part {
        Val::Text(_) => ip(machine, std::slice::from_ref(part))?,
        other => other.clone(),
    };
    Ok(Val::Bool(block(whole)?.contains(*address(&[part])?)))
}

fn contains_cidr<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [whole, part] = arguments else {
        return Err(Stop::no_overload());
    };
    let part = match part {
        Val::Text(_) => block(&cidr(machine, std::slice::from_ref(part))?)?,
        other => block(other)?,
    };
    let whole = block(whole)?;
    Ok(Val::Bool(
        whole.bits <= part.bits && whole.contains(part.address),
    ))
}

fn prefix_length<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [value] => Ok(Val::Int(block(value)?.bits.into())),
        _ => Err(Stop::no_overload()),
    }
}

fn masked<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [value] => Ok(Val::opaque(Opaque::Cidr(block(value)?.masked()))),
        _ => Err(Stop::no_overload()),
    }
}
