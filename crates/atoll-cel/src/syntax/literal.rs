//! The values that literals write.

use super::Fault;
use super::ast::Literal;

pub(super) fn int(text: &str, negative: bool, at: u32) -> Result<Literal, Fault> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    let magnitude =
        u64::from_str_radix(digits, radix).map_err(|_| Fault::new(at, "invalid int literal"))?;
    let value = if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    };
    value
        .map(Literal::Int)
        .ok_or_else(|| Fault::new(at, "invalid int literal"))
}

pub(super) fn uint(text: &str, at: u32) -> Result<Literal, Fault> {
    let text = &text[..text.len() - 1];
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    u64::from_str_radix(digits, radix)
        .map(Literal::Uint)
        .map_err(|_| Fault::new(at, "invalid uint literal"))
}

pub(super) fn double(text: &str, negative: bool, at: u32) -> Result<Literal, Fault> {
    let value = text
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .ok_or_else(|| Fault::new(at, "invalid double literal"))?;
    Ok(Literal::Double(if negative { -value } else { value }))
}

pub(super) fn string(token: &str, at: u32) -> Result<Literal, Fault> {
    let bytes = unquote(token, false, at)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Fault::new(at, "invalid unicode code point"))?;
    Ok(Literal::String(text.into()))
}

pub(super) fn bytes(token: &str, at: u32) -> Result<Literal, Fault> {
    Ok(Literal::Bytes(unquote(&token[1..], true, at)?.into()))
}

/// The bytes between the quotes, escapes replaced and line ends made `\n`.
fn unquote(token: &str, as_bytes: bool, at: u32) -> Result<Vec<u8>, Fault> {
    let (raw, quoted) = match token.strip_prefix(['r', 'R']) {
        Some(quoted) => (true, quoted),
        None => (false, token),
    };
    let width = if quoted.len() >= 6 && (quoted.starts_with("\"\"\"") || quoted.starts_with("'''"))
    {
        3
    } else {
        1
    };
    let inside = quoted[width..quoted.len() - width]
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    if raw || !inside.contains('\\') {
        return Ok(inside.into_bytes());
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside.as_str();
    while let Some(slash) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..slash]);
        rest = escape(&rest[slash + 1..], as_bytes, &mut out)
            .map_err(|message| Fault::new(at, message))?;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Appends what the escape after a backslash means; the rest of the text.
fn escape<'a>(rest: &'a str, as_bytes: bool, out: &mut Vec<u8>) -> Result<&'a str, &'static str> {
    const BAD: &str = "unable to unescape string";
    let first = *rest
        .as_bytes()
        .first()
        .ok_or("unable to unescape string, found '\\' as last character")?;
    let simple = match first {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'\'' | b'"' | b'`' | b'?' => first,
        _ => 0,
    };
    if simple != 0 {
        out.push(simple);
        return Ok(&rest[1..]);
    }
    let (skip, length, radix, bad) = match first {
        b'x' | b'X' => (1, 2, 16, BAD),
        b'u' if !as_bytes => (1, 4, 16, BAD),
        b'U' if !as_bytes => (1, 8, 16, BAD),
        b'0'..=b'3' => (0, 3, 8, "unable to unescape octal sequence in string"),
        _ => return Err(BAD),
    };
    let digits = rest
        .get(skip..skip + length)
        .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or(bad)?;
    let code = u32::from_str_radix(digits, radix).map_err(|_| bad)?;
    if as_bytes {
        out.push(u8::try_from(code).map_err(|_| bad)?);
    } else {
        let character = char::from_u32(code).ok_or("invalid unicode code point")?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(&rest[skip + length..])
}
