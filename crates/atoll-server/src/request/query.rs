//! Query parameters and their Kubernetes meaning. Unknown parameters are ignored, wrong values are 400 or 422.

use atoll_kube::ids::GroupKind;
use atoll_kube::selector::{FieldSelector, LabelSelector};
use atoll_kube::status::{FieldError, Status};
use atoll_registry::{
    DeleteOptions, FieldValidation, GetOptions, ListOptions, Propagation, VersionMatch,
    WatchOptions, WriteOptions,
};
use serde_json::Value;

use super::path::percent_decode;

/// A parsed query string. A parameter given twice counts once, the first time, as in Kubernetes.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Status> {
        let mut pairs = Vec::new();
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                percent_decode(&text.replace('+', " ")).ok_or_else(|| {
                    Status::bad_request(format!("the query parameter {pair:?} is not well-formed"))
                })
            };
            pairs.push((decode(name)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All parameters, as they were given.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Every value of a parameter that may be given more than once.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    /// Kubernetes' booleans: absent, `false` and `0` are false; anything else, also nothing, is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        let number = value.parse().map_err(|_| {
            Status::bad_request(format!(
                "the query parameter {name} must be a whole number, but is {value:?}"
            ))
        })?;
        Ok(Some(number))
    }

    /// `timeoutSeconds`, when it is given and positive.
    pub(crate) fn timeout_seconds(&self) -> Result<Option<u64>, Status> {
        Ok(self
            .number("timeoutSeconds")?
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|&s| s > 0))
    }

    pub(crate) fn get_options(&self) -> GetOptions {
        GetOptions {
            resource_version: self.text("resourceVersion"),
        }
    }

    pub(crate) fn list_options(&self) -> Result<ListOptions, Status> {
        let (labels, fields) = self.selectors()?;
        let limit = self.number("limit")?.unwrap_or(0);
        let options = ListOptions {
            labels,
            fields,
            limit: u64::try_from(limit).unwrap_or(0),
            continue_token: self.text("continue"),
            resource_version: self.text("resourceVersion"),
            version_match: self.version_match()?,
        };
        let forbid =
            |field: &str, why: &str| Err(invalid("ListOptions", FieldError::forbidden(field, why)));
        if self.get("sendInitialEvents").is_some() {
            return forbid(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            );
        }
        if let Some(matching) = options.version_match {
            if options.resource_version.is_none() {
                return forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if options.continue_token.is_some() {
                return forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if matching == VersionMatch::Exact && options.resource_version.as_deref() == Some("0") {
                return forbid(
                    "resourceVersionMatch",
                    "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
        Ok(options)
    }

    pub(crate) fn watch_options(&self) -> Result<WatchOptions, Status> {
        let (labels, fields) = self.selectors()?;
        let options = WatchOptions {
            labels,
            fields,
            resource_version: self.text("resourceVersion"),
            version_match: self.version_match()?,
            bookmarks: self.flag("allowWatchBookmarks"),
            send_initial_events: self
                .get("sendInitialEvents")
                .map(|_| self.flag("sendInitialEvents")),
        };
        let forbid =
            |field: &str, why: &str| Err(invalid("ListOptions", FieldError::forbidden(field, why)));
        match (options.send_initial_events, options.version_match) {
            (None, Some(_)) => forbid(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
            (Some(_), None) => forbid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ),
            (Some(_), Some(VersionMatch::Exact)) => {
                let wrong =
                    FieldError::not_supported("resourceVersionMatch", "Exact", ["NotOlderThan"]);
                Err(invalid("ListOptions", wrong))
            }
            (Some(true), _) if !options.bookmarks => forbid(
                "allowWatchBookmarks",
                "sendInitialEvents requires allowWatchBookmarks to be set",
            ),
            _ => Ok(options),
        }
    }

    fn selectors(&self) -> Result<(LabelSelector, FieldSelector), Status> {
        let unreadable = |name: &str, why: String| {
            Status::bad_request(format!("unable to parse the {name}: {why}"))
        };
        let labels = self
            .get("labelSelector")
            .map(LabelSelector::parse_query)
            .transpose();
        let fields = self
            .get("fieldSelector")
            .map(FieldSelector::parse)
            .transpose();
        Ok((
            labels
                .map_err(|why| unreadable("labelSelector", why))?
                .unwrap_or_default(),
            fields
                .map_err(|why| unreadable("fieldSelector", why))?
                .unwrap_or_default(),
        ))
    }

    fn version_match(&self) -> Result<Option<VersionMatch>, Status> {
        match self.get("resourceVersionMatch") {
            None | Some("") => Ok(None),
            Some("Exact") => Ok(Some(VersionMatch::Exact)),
            Some("NotOlderThan") => Ok(Some(VersionMatch::NotOlderThan)),
            Some(other) => {
                let known = ["Exact", "NotOlderThan"];
                Err(invalid(
                    "ListOptions",
                    FieldError::not_supported("resourceVersionMatch", other, known),
                ))
            }
        }
    }

    pub(crate) fn write_options(&self, kind: &str) -> Result<WriteOptions, Status> {
        let field_validation = match self.get("fieldValidation") {
            None | Some("") => FieldValidation::default(),
            Some("Ignore") => FieldValidation::Ignore,
            Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let known = ["Ignore", "Strict", "Warn"];
                return Err(invalid(
                    kind,
                    FieldError::not_supported("fieldValidation", other, known),
                ));
            }
        };
        let field_manager = self.text("fieldManager");
        if let Some(manager) = &field_manager {
            if manager.len() > 128 {
                return Err(invalid(kind, FieldError::too_long("fieldManager", 128)));
            }
            if manager.chars().any(char::is_control) {
                let detail = "should only contain printable characters";
                return Err(invalid(
                    kind,
                    FieldError::invalid("fieldManager", manager.as_str(), detail),
                ));
            }
        }
        Ok(WriteOptions {
            dry_run: self.dry_run(kind)?,
            field_manager,
            field_validation,
            force: self.flag("force"),
        })
    }

    fn dry_run(&self, kind: &str) -> Result<bool, Status> {
        match self.get("dryRun") {
            None | Some("") => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(dry_run_unknown(kind, other)),
        }
    }

    /// Delete options: from the body when there is one, else from the query.
    pub(crate) fn delete_options(&self, body: &[u8]) -> Result<DeleteOptions, Status> {
        let mut options = DeleteOptions {
            uid: None,
            resource_version: None,
            propagation: self
                .get("propagationPolicy")
                .map(propagation)
                .transpose()?
                .flatten(),
            grace_period_seconds: self.number("gracePeriodSeconds")?,
            dry_run: self.dry_run("DeleteOptions")?,
        };
        if options.propagation.is_none() && self.get("orphanDependents").is_some() {
            options.propagation = Some(orphaning(self.flag("orphanDependents")));
        }
        if !body.is_empty() {
            let unreadable = |error: serde_json::Error| {
                Status::bad_request(format!("the body is no DeleteOptions: {error}"))
            };
            // Through a value: a list of fields in their order is no object.
            let value: serde_json::Map<String, Value> =
                serde_json::from_slice(body).map_err(unreadable)?;
            let body = serde_json::from_value(Value::Object(value)).map_err(unreadable)?;
            merge_delete_body(&mut options, body)?;
        }
        Ok(options)
    }
}

/// DeleteOptions as a body spells them. A field of the wrong type is an error: whoever wrote it meant it, a dry run most of all.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeleteBody {
    kind: Option<String>,
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    orphan_dependents: Option<bool>,
    propagation_policy: Option<String>,
    dry_run: Option<Vec<String>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

fn merge_delete_body(options: &mut DeleteOptions, body: DeleteBody) -> Result<(), Status> {
    if let Some(kind) = body
        .kind
        .filter(|kind| !kind.is_empty() && kind != "DeleteOptions")
    {
        return Err(Status::bad_request(format!(
            "the body of a delete must be DeleteOptions, but is {kind:?}"
        )));
    }
    let conditions = body.preconditions.unwrap_or_default();
    options.uid = conditions.uid.filter(|uid| !uid.is_empty());
    options.resource_version = conditions
        .resource_version
        .filter(|version| !version.is_empty());
    if let Some(policy) = body.propagation_policy {
        options.propagation = propagation(&policy)?;
    } else if let Some(orphan) = body.orphan_dependents {
        options.propagation = Some(orphaning(orphan));
    }
    if let Some(seconds) = body.grace_period_seconds {
        options.grace_period_seconds = Some(seconds);
    }
    for value in body.dry_run.unwrap_or_default() {
        match value.as_str() {
            "All" => options.dry_run = true,
            other => return Err(dry_run_unknown("DeleteOptions", other)),
        }
    }
    Ok(())
}

fn orphaning(orphan: bool) -> Propagation {
    if orphan {
        Propagation::Orphan
    } else {
        Propagation::Background
    }
}

fn propagation(policy: &str) -> Result<Option<Propagation>, Status> {
    Ok(Some(match policy {
        "" => return Ok(None),
        "Orphan" => Propagation::Orphan,
        "Background" => Propagation::Background,
        "Foreground" => Propagation::Foreground,
        other => {
            let known = ["Foreground", "Background", "Orphan"];
            return Err(invalid(
                "DeleteOptions",
                FieldError::not_supported("propagationPolicy", other, known),
            ));
        }
    }))
}

fn dry_run_unknown(kind: &str, value: &str) -> Status {
    invalid(kind, FieldError::not_supported("dryRun", value, ["All"]))
}

/// 422 about options of this kind.
fn invalid(kind: &str, error: FieldError) -> Status {
    Status::invalid(&GroupKind::new("meta.k8s.io", kind), "", &[error])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(Some(text)).unwrap()
    }

    #[test]
    fn booleans_read_as_in_kubernetes() {
        for (text, expected) in [
            ("", false),
            ("w=false", false),
            ("w=0", false),
            ("w=False", false),
            ("w", true),
            ("w=1", true),
            ("w=yes", true),
        ] {
            assert_eq!(query(text).flag("w"), expected, "{text}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let code = |result: Result<(), Status>| result.err().map(|status| status.code);
        let list = |text| code(query(text).list_options().map(drop));
        let watch = |text| code(query(text).watch_options().map(drop));
        let write = |text| code(query(text).write_options("CreateOptions").map(drop));
        assert_eq!(list("limit=many"), Some(400));
        assert_eq!(list("resourceVersionMatch=Exact"), Some(422));
        assert_eq!(
            list("resourceVersionMatch=Exact&resourceVersion=0"),
            Some(422)
        );
        assert_eq!(
            list("resourceVersionMatch=Sometimes&resourceVersion=1"),
            Some(422)
        );
        assert_eq!(list("resourceVersionMatch=Exact&resourceVersion=7"), None);
        assert_eq!(watch("sendInitialEvents=true"), Some(422));
        assert_eq!(
            watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
            Some(422)
        );
        assert_eq!(
            watch(
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
            ),
            None
        );
        assert_eq!(watch("resourceVersionMatch=NotOlderThan"), Some(422));
        assert_eq!(write("dryRun=Some"), Some(422));
        assert_eq!(
            write("dryRun=All&fieldManager=me&fieldValidation=Strict"),
            None
        );
        assert_eq!(write("fieldValidation=Perhaps"), Some(422));
        assert_eq!(
            write(&format!("fieldManager={}", "x".repeat(129))),
            Some(422)
        );
        assert_eq!(
            Query::parse(Some("a=%f")).err().map(|status| status.code),
            Some(400)
        );
    }

    #[test]
    fn a_delete_body_wins_over_the_query() {
        let body = br#"{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground",
            "preconditions":{"uid":"u","resourceVersion":"7"},"dryRun":["All"],"gracePeriodSeconds":3}"#;
        let options = query("propagationPolicy=Orphan")
            .delete_options(body)
            .unwrap();
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert_eq!(options.uid.as_deref(), Some("u"));
        assert_eq!(options.resource_version.as_deref(), Some("7"));
        assert_eq!(
            (options.dry_run, options.grace_period_seconds),
            (true, Some(3))
        );
        let options = query("propagationPolicy=Orphan&gracePeriodSeconds=0")
            .delete_options(b"")
            .unwrap();
        assert_eq!(
            (options.propagation, options.grace_period_seconds),
            (Some(Propagation::Orphan), Some(0))
        );
        assert!(
            query("propagationPolicy=Sideways")
                .delete_options(b"")
                .is_err()
        );
        assert!(
            query("")
                .delete_options(b"{\"dryRun\":[\"Never\"]}")
                .is_err()
        );
        assert!(query("").delete_options(b"{\"kind\":\"Pod\"}").is_err());
        for wrong in [
            r#"{"dryRun":"All"}"#,
            r#"{"preconditions":{"uid":5}}"#,
            r#"{"preconditions":{"resourceVersion":7}}"#,
            r#"{"preconditions":"x"}"#,
            r#"{"propagationPolicy":5}"#,
            r#"{"gracePeriodSeconds":"x"}"#,
            "[]",
        ] {
            let refused = query("").delete_options(wrong.as_bytes());
            assert_eq!(refused.unwrap_err().code, 400, "{wrong}");
        }
    }
}
