//! Reading a join file: all that can be wrong with one is said in a line, and nothing of its secret.

use atoll_wire::join::{API_VERSION, JoinFile, KIND};
use base64::Engine as _;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;

/// What a join file cannot do without.
const NEEDED: [&str; 6] = [
    "server",
    "certificateAuthorityData",
    "inventory",
    "name",
    "destination",
    "token",
];

/// Reads a join file.
///
/// # Errors
/// In words, when it is not one.
pub fn read_join_file(text: &str) -> Result<JoinFile, String> {
    let value: Value = serde_saphyr::from_str(text).map_err(|e| {
        // Only its first line: the others quote the file, which holds a token.
        let said = e.to_string();
        let why = said.lines().next().unwrap_or_default();
        format!("it is no YAML: {}", why.trim_start_matches("error: "))
    })?;
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    match (field("apiVersion"), field("kind")) {
        (API_VERSION, KIND) => {}
        ("v1", "Config") => {
            return Err("it is a kubeconfig: that goes to --kubeconfig".to_owned());
        }
        ("", "") => {
            return Err(format!(
                "it does not say that it is a {KIND} of {API_VERSION}"
            ));
        }
        (version, kind) => {
            return Err(format!(
                "it says {kind:?} of {version:?}, not {KIND} of {API_VERSION}"
            ));
        }
    }
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|name| field(name).is_empty())
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "it has no {}; it may have been cut off",
            missing.join(", no ")
        ));
    }
    if !field("server").starts_with("https://") {
        return Err(format!("its server {:?} is no https URL", field("server")));
    }
    let authority =
        base64::engine::general_purpose::STANDARD.decode(field("certificateAuthorityData"));
    let certificates = authority.ok().map(|pem| {
        CertificateDer::pem_slice_iter(&pem)
            .filter(Result::is_ok)
            .count()
    });
    if certificates.unwrap_or(0) == 0 {
        return Err("its certificateAuthorityData holds no certificate".to_owned());
    }
    serde_json::from_value(value).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_and_no_secret() {
        let pem = rcgen::generate_simple_self_signed(["center".to_owned()])
            .unwrap()
            .cert
            .pem();
        let authority = base64::engine::general_purpose::STANDARD.encode(pem);
        let good = format!(
            "apiVersion: {API_VERSION}\nkind: {KIND}\nserver: https://c:6443\ncertificateAuthorityData: {authority}\ninventory: 1abc\nname: e1\ndestination: uid\ntoken: s3cret\n"
        );
        assert_eq!(read_join_file(&good).unwrap().token, "s3cret");
        for (text, words) in [
            (String::new(), "does not say"),
            ("token: [s3cret".to_owned(), "no YAML"),
            ("just words, s3cret".to_owned(), "does not say"),
            ("apiVersion: v1\nkind: Config\n".to_owned(), "--kubeconfig"),
            (good.replace("Join", "Leave"), "\"Leave\""),
            (
                good.replace("https://c:6443", "c:6443"),
                "\"c:6443\" is no https URL",
            ),
            (good.replace("token: s3cret\n", ""), "no token"),
            (
                good.replace("destination: uid\n", "")
                    .replace("name: e1\n", ""),
                "no name, no destination",
            ),
            (good.replace(&authority, "cut0f"), "holds no certificate"),
            (good.replace(&authority, "c3VyZQ=="), "holds no certificate"),
        ] {
            let why = read_join_file(&text).unwrap_err();
            assert!(
                why.contains(words) && !why.contains("s3cret"),
                "{text}: {why}"
            );
            assert_eq!(why.lines().count(), 1, "{why}");
        }
    }
}
