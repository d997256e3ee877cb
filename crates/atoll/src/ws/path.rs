//! What people type and what server URLs say, as workspace paths. Pure.

use anyhow::{Context as _, bail};

/// A server URL, taken apart at `/clusters/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// Scheme, host and port.
    pub(super) origin: String,
    /// What comes between the host and `/clusters/`; mostly nothing.
    pub(super) prefix: String,
    /// The path or name of the workspace.
    workspace: Option<String>,
}

impl Location {
    /// Takes a server URL apart.
    pub(super) fn parse(server: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = server
            .split_once("://")
            .with_context(|| format!("{server:?} is not a URL"))?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (prefix, workspace) = match path.split_once("/clusters/") {
            Some((prefix, workspace)) => {
                let workspace = workspace.split('/').next().unwrap_or("");
                (prefix, Some(workspace.to_owned()).filter(|w| !w.is_empty()))
            }
            None => (path.trim_end_matches('/'), None),
        };
        Ok(Location {
            origin: format!("{scheme}://{host}"),
            prefix: prefix.to_owned(),
            workspace,
        })
    }

    /// The workspace, which the URL has to name.
    pub(super) fn workspace(&self) -> anyhow::Result<&str> {
        self.workspace.as_deref().with_context(|| {
            format!(
                "the current context's server {}{} is no workspace; go to one with an absolute path such as :root",
                self.origin, self.prefix
            )
        })
    }

    /// The server URL of another workspace at the same place.
    pub(super) fn url(&self, workspace: &str) -> String {
        format!("{}{}/clusters/{workspace}", self.origin, self.prefix)
    }
}

/// What an argument asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `.` or `:`: nothing but saying where we are.
    Stay,
    /// `-`: where we came from.
    Back,
    /// `~`: the user's own workspace.
    Home,
    /// Anything else.
    To(Walk),
}

/// A path, absolute or from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk(String);

impl Step {
    /// Reads an argument. A shell turns `~` into `home`, which therefore means the same.
    pub(super) fn parse(argument: &str, home: Option<&str>) -> Self {
        match argument {
            "." | ":" | "current" => Step::Stay,
            "-" => Step::Back,
            "~" | "" => Step::Home,
            other if Some(other) == home => Step::Home,
            other => Step::To(Walk(other.to_owned())),
        }
    }
}

impl Walk {
    /// `root` without a colon: surely the top is meant.
    pub(super) fn is_bare_root(&self) -> bool {
        self.0 == "root" || self.0.starts_with("root:")
    }

    /// The absolute path this leads to.
    pub(super) fn from(&self, location: &Location) -> anyhow::Result<String> {
        if let Some(absolute) = self.0.strip_prefix(':') {
            return valid(absolute);
        }
        if self.is_bare_root() {
            return valid(&self.0);
        }
        let mut path: Vec<&str> = location.workspace()?.split(':').collect();
        for segment in self.0.split(':') {
            match segment {
                "." => {}
                ".." => {
                    path.pop();
                    if path.is_empty() {
                        bail!("there is nothing above {}", location.workspace()?);
                    }
                }
                other => path.push(other),
            }
        }
        valid(&path.join(":"))
    }
}

/// A path whose segments all could be names.
fn valid(path: &str) -> anyhow::Result<String> {
    if !atoll_workspaces::names::is_cluster_path(path) {
        bail!(
            "{path:?} is not a workspace path: segments are lower case letters, digits and dashes, joined by colons"
        );
    }
    Ok(path.to_owned())
}

/// The path of the parent, and the name in it.
pub(super) fn parent(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once(':')
        .filter(|(parent, _)| *parent != "user" && *parent != "system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_at_clusters() {
        let rows = [
            (
                "https://h:6443/clusters/root:a",
                "https://h:6443",
                "",
                Some("root:a"),
            ),
            (
                "https://h/x/clusters/root/",
                "https://h",
                "/x",
                Some("root"),
            ),
            ("https://h:6443", "https://h:6443", "", None),
            ("https://h/clusters/", "https://h", "", None),
        ];
        for (url, origin, prefix, workspace) in rows {
            let got = Location::parse(url).unwrap();
            assert_eq!(
                (
                    got.origin.as_str(),
                    got.prefix.as_str(),
                    got.workspace.as_deref()
                ),
                (origin, prefix, workspace)
            );
        }
        assert_eq!(
            Location::parse("https://h/x/clusters/root")
                .unwrap()
                .url("root:b"),
            "https://h/x/clusters/root:b"
        );
    }

    #[test]
    fn arguments_lead_where_they_say() {
        let here = Location::parse("https://h/clusters/root:a:b").unwrap();
        let rows = [
            ("c", Some("root:a:b:c")),
            ("c:d", Some("root:a:b:c:d")),
            ("..", Some("root:a")),
            ("..:..", Some("root")),
            ("..:x", Some("root:a:x")),
            (".:x", Some("root:a:b:x")),
            (":root", Some("root")),
            (":root:z", Some("root:z")),
            ("root", Some("root")),
            (":v1u4alow0iv9", Some("v1u4alow0iv9")),
            ("..:..:..", None),
            ("A", None),
            (":", None),
            ("a//b", None),
        ];
        for (argument, expected) in rows {
            assert_eq!(
                Walk(argument.to_owned()).from(&here).ok().as_deref(),
                expected,
                "{argument}"
            );
        }
        let bare = Location::parse("https://h").unwrap();
        assert!(Walk("a".into()).from(&bare).is_err());
        assert_eq!(Walk(":root:a".into()).from(&bare).unwrap(), "root:a");
        for (argument, expected) in [
            (".", Step::Stay),
            ("-", Step::Back),
            ("~", Step::Home),
            ("/home/u", Step::Home),
        ] {
            assert_eq!(
                Step::parse(argument, Some("/home/u")),
                expected,
                "{argument}"
            );
        }
    }

    #[test]
    fn parents_are_workspaces() {
        for (path, expected) in [
            ("root:a:b", Some(("root:a", "b"))),
            ("root", None),
            ("user:x", None),
            ("2xq", None),
        ] {
            assert_eq!(parent(path), expected, "{path}");
        }
    }
}
