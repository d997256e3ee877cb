//! URLs, as Go's `net/url` reads request URIs.

use std::collections::BTreeMap;
use std::fmt;

use super::opaque::Opaque;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{MapKey, Text, Val};

pub(super) const TABLE: &[Entry] = &[
    entry(
        "url",
        Charge::TraverseSame,
        url,
        &["string_to_url: (string) -> kubernetes.URL"],
    ),
    entry(
        "isURL",
        Charge::One,
        is_url,
        &["is_url_string: (string) -> bool"],
    ),
    entry(
        "getScheme",
        Charge::One,
        scheme,
        &["url_get_scheme: kubernetes.URL.() -> string"],
    ),
    entry(
        "getHost",
        Charge::One,
        host,
        &["url_get_host: kubernetes.URL.() -> string"],
    ),
    entry(
        "getHostname",
        Charge::One,
        hostname,
        &["url_get_hostname: kubernetes.URL.() -> string"],
    ),
    entry(
        "getPort",
        Charge::One,
        port,
        &["url_get_port: kubernetes.URL.() -> string"],
    ),
    entry(
        "getEscapedPath",
        Charge::One,
        escaped_path,
        &["url_get_escaped_path: kubernetes.URL.() -> string"],
    ),
    entry(
        "getQuery",
        Charge::One,
        query,
        &["url_get_query: kubernetes.URL.() -> map(string, list(string))"],
    ),
];

/// A parsed URL. Two are equal when they are written alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

impl Url {
    /// Reads a URL. The words of an error are Go's.
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        // A request URI has no fragment, but must be right with what looks like one.
        Url::read(text, true).map_err(|why| format!("parse {text:?}: {why}"))?;
        let (before, fragment) = match text.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (text, None),
        };
        let mut url = Url::read(before, false).map_err(|why| format!("parse {before:?}: {why}"))?;
        if let Some(fragment) = fragment {
            unescape(fragment).map_err(|why| format!("parse {text:?}: {why}"))?;
            url.fragment = Some(fragment.to_owned()).filter(|fragment| !fragment.is_empty());
        }
        Ok(url)
    }

    fn read(text: &str, request: bool) -> Result<Url, String> {
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        if text.is_empty() && request {
            return Err("empty url".to_owned());
        }
        let (scheme, rest) = split_scheme(text)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let mut url = Url {
            scheme: scheme.to_ascii_lowercase(),
            opaque: String::new(),
            user: None,
            host: String::new(),
            path: String::new(),
            query,
            fragment: None,
        };
        if text == "*" {
            url.path = "*".to_owned();
            return Ok(url);
        }
        let mut path = rest;
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                url.opaque = rest.to_owned();
                return Ok(url);
            }
            if request {
                return Err("invalid URI for request".to_owned());
            }
            if rest
                .split('/')
                .next()
                .is_some_and(|segment| segment.contains(':'))
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        } else if let Some(authority) = rest.strip_prefix("//")
            && (!scheme.is_empty() || (!request && !rest.starts_with("///")))
        {
            let end = authority.find('/').unwrap_or(authority.len());
            path = &authority[end..];
            url.read_authority(&authority[..end])?;
        }
        unescape(path)?;
        url.path = path.to_owned();
        Ok(url)
    }

    fn read_authority(&mut self, authority: &str) -> Result<(), String> {
        let host = match authority.rsplit_once('@') {
            Some((user, host)) => {
                let valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
                if !user.chars().all(valid) {
                    return Err("net/url: invalid userinfo".to_owned());
                }
                unescape(user)?;
                self.user = Some(user.to_owned());
                host
            }
            None => authority,
        };
        let after = if host.starts_with('[') {
            let close = host.rfind(']').ok_or("missing ']' in host")?;
            &host[close + 1..]
        } else {
            host.rfind(':').map_or("", |at| &host[at..])
        };
        let is_port = after.is_empty()
            || after
                .strip_prefix(':')
                .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        if !is_port {
            return Err(format!("invalid port {after:?} after host"));
        }
        let allowed = |c: char| {
            !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
        };
        if let Some(wrong) = host.chars().find(|c| !allowed(*c)) {
            return Err(format!(
                "invalid character {:?} in host name",
                wrong.to_string()
            ));
        }
        self.host = unescape(host)?;
        Ok(())
    }

    fn hostname(&self) -> &str {
        if let Some(inside) = self.host.strip_prefix('[') {
            return inside.rfind(']').map_or(inside, |close| &inside[..close]);
        }
        self.host
            .rfind(':')
            .map_or(&self.host, |at| &self.host[..at])
    }

    fn port(&self) -> &str {
        let after = if self.host.starts_with('[') {
            self.host.rfind(']').map_or("", |close| &self.host[close..])
        } else {
            &self.host
        };
        after.rfind(':').map_or("", |at| &after[at + 1..])
    }

    fn escaped_path(&self) -> String {
        let written = |c: char| c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:@[]/%".contains(c);
        if self.path.chars().all(written) {
            return self.path.clone();
        }
        let kept = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b);
        let mut escaped = String::new();
        for byte in unescape(&self.path).unwrap_or_default().bytes() {
            if kept(byte) {
                escaped.push(byte.into())
            } else {
                escaped.push_str(&format!("%{byte:02X}"))
            }
        }
        escaped
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    f.write_str("//")?;
                }
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&self.escaped_path())?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            c if c.is_ascii_alphabetic() => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// Replaces `%xx`. What is no UTF-8 then is shown with replacement characters.
fn unescape(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let digits = bytes
            .get(at + 1..at + 3)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(code) = code else {
            let end = (at + 3).min(bytes.len());
            return Err(format!(
                "invalid URL escape {:?}",
                String::from_utf8_lossy(&bytes[at..end])
            ));
        };
        out.push(code);
        at += 3;
    }
    Ok(String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn url<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    machine.allocate(text.as_str().len().saturating_mul(2))?;
    let parsed = Url::parse(text.as_str()).map_err(|why| {
        Stop::fault(format!(
            "URL parse error during conversion from string: {why}"
        ))
    })?;
    Ok(Val::opaque(Opaque::Url(parsed)))
}

fn is_url<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Text(text)] = arguments else {
        return Err(Stop::no_overload());
    };
    machine.walk(text.as_str().len() / 4)?;
    Ok(Val::Bool(is_request_uri(text.as_str()).is_ok()))
}

/// Whether a text is a request URI; if not, why.
pub(super) fn is_request_uri(text: &str) -> Result<(), String> {
    Url::read(text, true)
        .map(drop)
        .map_err(|why| format!("parse {text:?}: {why}"))
}

fn of<'v>(arguments: &'v [Val<'_>]) -> Evaluated<&'v Url> {
    match arguments {
        [Val::Opaque(opaque)] => match &**opaque {
            Opaque::Url(url) => Ok(url),
            _ => Err(Stop::no_overload()),
        },
        _ => Err(Stop::no_overload()),
    }
}

fn text<'a>(machine: &mut Machine, text: &str) -> Evaluated<Val<'a>> {
    machine.walk(text.len() / 4)?;
    machine.allocate(text.len())?;
    Ok(Val::text(text))
}

fn scheme<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    text(machine, &of(arguments)?.scheme)
}

fn host<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    text(machine, &of(arguments)?.host)
}

fn hostname<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    text(machine, of(arguments)?.hostname())
}

fn port<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    text(machine, of(arguments)?.port())
}

fn escaped_path<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let url = of(arguments)?;
    machine.allocate(url.path.len().saturating_mul(3))?;
    text(machine, &url.escaped_path())
}

fn query<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let mut entries: BTreeMap<String, Vec<Val<'a>>> = BTreeMap::new();
    let query = of(arguments)?.query.as_deref().unwrap_or_default();
    machine.walk(query.len())?;
    for pair in query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
    {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Ok(key), Ok(value)) = (
            unescape(&key.replace('+', " ")),
            unescape(&value.replace('+', " ")),
        ) else {
            continue;
        };
        machine.allocate(key.len() + value.len())?;
        machine.allocate_values(4)?;
        entries.entry(key).or_default().push(Val::text(value));
    }
    let entries = entries
        .into_iter()
        .map(|(key, values)| (MapKey::Text(Text::Shared(key.into())), Val::list(values)));
    Ok(Val::map(entries.collect()))
}
