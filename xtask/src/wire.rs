//! The protobuf form of Kubernetes' types, from the struct tags of its Go modules (facts only: numbers and names).
//!
//! `wire <component> 1:metadata 2:spec! 3:replicas* 4:+<component>`: a field's number and its JSON name, with
//! `*` where it is a pointer (a zero that is sent was meant), `!` where JSON always writes it, and `+` where the fields of
//! another message stand inline. Types are not repeated: the component's schema has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

const VERSION: &str = "v0.36.3";

/// Go packages, with the prefix that their components have in OpenAPI.
const PACKAGES: [(&str, &str); 26] = [
    ("api", "admissionregistration/v1"),
    ("api", "apps/v1"),
    ("api", "authentication/v1"),
    ("api", "authorization/v1"),
    ("api", "autoscaling/v1"),
    ("api", "autoscaling/v2"),
    ("api", "batch/v1"),
    ("api", "certificates/v1"),
    ("api", "coordination/v1"),
    ("api", "core/v1"),
    ("api", "discovery/v1"),
    ("api", "events/v1"),
    ("api", "flowcontrol/v1"),
    ("api", "networking/v1"),
    ("api", "node/v1"),
    ("api", "policy/v1"),
    ("api", "rbac/v1"),
    ("api", "resource/v1"),
    ("api", "scheduling/v1"),
    ("api", "storage/v1"),
    ("apimachinery", "pkg/apis/meta/v1"),
    ("apimachinery", "pkg/api/resource"),
    ("apimachinery", "pkg/runtime"),
    ("apimachinery", "pkg/util/intstr"),
    ("apiextensions-apiserver", "pkg/apis/apiextensions/v1"),
    ("kube-aggregator", "pkg/apis/apiregistration/v1"),
];

/// Every message of those packages.
pub(crate) struct Messages(BTreeMap<String, String>);

impl Messages {
    /// Reads the Go module cache.
    pub(crate) fn read() -> Result<Messages> {
        let cache = Command::new("go")
            .args(["env", "GOMODCACHE"])
            .output()
            .context("asking go for its module cache")?;
        let cache = PathBuf::from(String::from_utf8(cache.stdout)?.trim());
        let mut messages = BTreeMap::new();
        for (module, package) in PACKAGES {
            let dir = cache.join(format!("k8s.io/{module}@{VERSION}/{package}"));
            let prefix = format!("io.k8s.{module}.{}", package.replace('/', "."));
            for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
                let path = entry?.path();
                let file = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                if file.ends_with(".go")
                    && !file.contains("generated")
                    && !file.ends_with("_test.go")
                {
                    structs(&std::fs::read_to_string(&path)?, &prefix, &mut messages);
                }
            }
        }
        Ok(Messages(messages))
    }

    /// The wire lines of these components and of what stands inline in them.
    pub(crate) fn of(&self, components: BTreeSet<&str>) -> BTreeMap<&str, &str> {
        let mut found = BTreeMap::new();
        let mut wanted: Vec<&str> = components.into_iter().collect();
        while let Some(name) = wanted.pop() {
            if let Some((name, fields)) = self.0.get_key_value(name)
                && found.insert(name.as_str(), fields.as_str()).is_none()
            {
                wanted.extend(
                    fields
                        .split(' ')
                        .filter_map(|f| f.split_once(":+"))
                        .map(|(_, to)| to),
                );
            }
        }
        found
    }
}

/// Finds `type X struct { … }` and the tagged fields in it.
fn structs(source: &str, prefix: &str, messages: &mut BTreeMap<String, String>) {
    let mut current: Option<(String, String)> = None;
    for line in source.lines() {
        if let Some(name) = line
            .strip_prefix("type ")
            .and_then(|l| l.strip_suffix(" struct {"))
        {
            current = Some((format!("{prefix}.{name}"), String::new()));
        } else if line == "}" {
            if let Some((name, fields)) = current.take()
                && !fields.is_empty()
            {
                messages.insert(name, fields);
            }
        } else if let Some((_, fields)) = &mut current
            && let Some(field) = field(line, prefix)
        {
            if !fields.is_empty() {
                fields.push(' ');
            }
            let _ = write!(fields, "{field}");
        }
    }
}

/// One field: `Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,1,opt,name=replicas"``.
fn field(line: &str, prefix: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with("//") {
        return None; // a retired number
    }
    let (declaration, tags) = line.split_once('`')?;
    let number = tag(tags, "protobuf")?.split(',').nth(1)?;
    let mut words = declaration.split_whitespace();
    let (name, ty) = (words.next()?, words.next().unwrap_or_default());
    let Some(json) = tag(tags, "json") else {
        return Some(format!("{number}:{name}*")); // encoded by hand; the decoder knows it
    };
    let (json, options) = json.split_once(',').unwrap_or((json, ""));
    if options.contains("inline") {
        return Some(format!("{number}:+{prefix}.{name}"));
    }
    let flag = if ty.starts_with('*') {
        "*"
    } else if options.contains("omitempty") || ty.starts_with('[') || ty.starts_with("map[") {
        ""
    } else {
        "!"
    };
    Some(format!("{number}:{json}{flag}"))
}

fn tag<'a>(tags: &'a str, name: &str) -> Option<&'a str> {
    let rest = &tags[tags.find(&format!("{name}:\""))? + name.len() + 2..];
    Some(&rest[..rest.find('"')?])
}
