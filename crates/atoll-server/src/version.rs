//! `/version`: the Kubernetes version whose API is served, and our own.

use serde_json::{Value, json};

/// The Kubernetes minor version whose API is served.
const MINOR: &str = "36";

/// `v1.36.0+atoll-0.1.0`.
pub(crate) fn git_version() -> String {
    format!("v1.{MINOR}.0+atoll-{}", env!("CARGO_PKG_VERSION"))
}

/// The answer of `/version`.
pub(crate) fn info() -> Value {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": "1",
        "minor": MINOR,
        "emulationMajor": "1",
        "emulationMinor": MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": git_version(),
        "gitCommit": option_env!("ATOLL_COMMIT").unwrap_or(""),
        "gitTreeState": "clean",
        "buildDate": option_env!("ATOLL_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{arch}", std::env::consts::OS),
    })
}
