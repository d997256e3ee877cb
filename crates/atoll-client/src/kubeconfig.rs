//! A kubeconfig as people have it: one file or several, with fields we do not know.
//!
//! Files stay trees of JSON values, so whatever is not understood is written back as it was. As in kubectl, the first
//! file that has an entry wins, a changed entry goes back to the file it came from, and a new one goes to the first file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// Why a kubeconfig cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file system refused.
    #[error("kubeconfig {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Not YAML, or not a mapping.
    #[error("kubeconfig {path} is not readable: {why}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// One or more kubeconfig files, read together.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    value: Value,
    changed: bool,
}

impl Kubeconfig {
    /// Reads what `KUBECONFIG` names, else `~/.kube/config`. Files that do not exist count as empty.
    pub fn load_default() -> Result<Self, KubeconfigError> {
        let named = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
        let paths: Vec<PathBuf> = match named {
            Some(list) => std::env::split_paths(&list)
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
            None => {
                let home = std::env::var_os("HOME")
                    .map(PathBuf::from)
                    .unwrap_or_default();
                vec![home.join(".kube").join("config")]
            }
        };
        Self::load(&paths)
    }

    /// Reads these files. Those that do not exist count as empty and are made when something is written to them.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Self, KubeconfigError> {
        let mut files = Vec::new();
        for path in paths {
            let path = path.as_ref().to_path_buf();
            let value = match std::fs::read_to_string(&path) {
                Ok(text) => parse(&path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => empty(),
                Err(error) => return Err(KubeconfigError::Io { path, error }),
            };
            files.push(File {
                path,
                value,
                changed: false,
            });
        }
        Ok(Kubeconfig { files })
    }

    /// A kubeconfig out of text, for tests and for text that never was a file. It has no place to be saved to.
    pub fn from_text(text: &str) -> Result<Self, KubeconfigError> {
        let path = PathBuf::from("<text>");
        let value = parse(&path, text)?;
        Ok(Kubeconfig {
            files: vec![File {
                path,
                value,
                changed: false,
            }],
        })
    }

    /// The name of the current context.
    pub fn current_context(&self) -> Option<String> {
        self.files
            .iter()
            .filter_map(|file| file.value.get("current-context").and_then(Value::as_str))
            .find(|name| !name.is_empty())
            .map(str::to_owned)
    }

    /// Names of all contexts, sorted.
    pub fn contexts(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .files
            .iter()
            .filter_map(|file| file.value.get("contexts").and_then(Value::as_array))
            .flatten()
            .filter_map(|entry| entry.get("name").and_then(Value::as_str).map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// A context: `cluster`, `user`, `namespace`.
    pub fn context(&self, name: &str) -> Option<Value> {
        self.entry("contexts", "context", name)
    }

    /// A cluster: `server`, certificate authority.
    pub fn cluster(&self, name: &str) -> Option<Value> {
        self.entry("clusters", "cluster", name)
    }

    /// A user's credentials.
    pub fn user(&self, name: &str) -> Option<Value> {
        self.entry("users", "user", name)
    }

    /// Sets or adds a context.
    pub fn set_context(&mut self, name: &str, context: Value) {
        self.set_entry("contexts", "context", name, context);
    }

    /// Sets or adds a cluster.
    pub fn set_cluster(&mut self, name: &str, cluster: Value) {
        self.set_entry("clusters", "cluster", name, cluster);
    }

    /// Sets or adds a user.
    pub fn set_user(&mut self, name: &str, user: Value) {
        self.set_entry("users", "user", name, user);
    }

    /// Makes a context the current one.
    pub fn set_current_context(&mut self, name: &str) {
        let has = |file: &File| {
            file.value
                .get("current-context")
                .and_then(Value::as_str)
                .is_some_and(|s| !s.is_empty())
        };
        let place = self.files.iter().position(has).unwrap_or(0);
        if let Some(file) = self.files.get_mut(place)
            && file.value.get("current-context").and_then(Value::as_str) != Some(name)
        {
            file.value["current-context"] = json!(name);
            file.changed = true;
        }
    }

    /// Writes the files that changed; each is replaced as a whole, readable by its owner alone.
    pub fn save(&mut self) -> Result<(), KubeconfigError> {
        for file in self.files.iter_mut().filter(|file| file.changed) {
            let text =
                serde_saphyr::to_string(&file.value).map_err(|error| KubeconfigError::Syntax {
                    path: file.path.clone(),
                    why: error.to_string(),
                })?;
            replace(&file.path, text.as_bytes()).map_err(|error| KubeconfigError::Io {
                path: file.path.clone(),
                error,
            })?;
            file.changed = false;
        }
        Ok(())
    }

    /// A file name found inside the kubeconfig, relative to the kubeconfig's own directory.
    pub fn resolve(&self, file: &str) -> PathBuf {
        let path = Path::new(file);
        if path.is_absolute() {
            return path.to_path_buf();
        }
        let directories = self.files.iter().filter_map(|file| file.path.parent());
        let candidates: Vec<PathBuf> = directories.map(|directory| directory.join(path)).collect();
        let existing = candidates.iter().find(|path| path.exists()).cloned();
        existing
            .or_else(|| candidates.into_iter().next())
            .unwrap_or_else(|| path.to_path_buf())
    }

    fn entry(&self, list: &str, field: &str, name: &str) -> Option<Value> {
        self.files
            .iter()
            .filter_map(|file| file.value.get(list).and_then(Value::as_array))
            .flatten()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
            .map(|entry| entry.get(field).cloned().unwrap_or_else(|| json!({})))
    }

    fn set_entry(&mut self, list: &str, field: &str, name: &str, value: Value) {
        let named = |entry: &Value| entry.get("name").and_then(Value::as_str) == Some(name);
        for file in &mut self.files {
            let entries = file.value.get_mut(list).and_then(Value::as_array_mut);
            if let Some(entry) =
                entries.and_then(|entries| entries.iter_mut().find(|entry| named(entry)))
            {
                if entry.get(field) != Some(&value) {
                    entry[field] = value;
                    file.changed = true;
                }
                return;
            }
        }
        let Some(file) = self.files.first_mut() else {
            return;
        };
        if !file.value[list].is_array() {
            file.value[list] = json!([]);
        }
        if let Some(entries) = file.value[list].as_array_mut() {
            let mut entry = Map::new();
            entry.insert("name".into(), json!(name));
            entry.insert(field.into(), value);
            entries.push(Value::Object(entry));
            file.changed = true;
        }
    }
}

fn empty() -> Value {
    json!({"apiVersion": "v1", "kind": "Config", "preferences": {}, "clusters": [], "contexts": [], "users": []})
}

fn parse(path: &Path, text: &str) -> Result<Value, KubeconfigError> {
    let wrong = |why: String| KubeconfigError::Syntax {
        path: path.to_path_buf(),
        why,
    };
    if text.trim().is_empty() {
        return Ok(empty());
    }
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        // Only the first line: the others quote the file, which holds credentials.
        let said = error.to_string();
        let why = said.lines().next().unwrap_or_default();
        wrong(why.trim_start_matches("error: ").to_owned())
    })?;
    match value {
        Value::Object(_) => Ok(value),
        Value::Null => Ok(empty()),
        _ => Err(wrong("it is not a mapping".into())),
    }
}

/// Replaces a file's content at once: a reader sees the old or the new, never half of it. A symbolic link stays one.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if let Some(directory) = target.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = target.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&fresh, &target)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
apiVersion: v1
kind: Config
current-context: root
extensions: [{name: mine, extension: {kept: true}}]
clusters:
- name: root
  cluster: {server: 'https://h:6443/clusters/root', certificate-authority-data: QQ==, odd-field: 1}
contexts:
- {name: root, context: {cluster: root, user: admin}}
users:
- {name: admin, user: {token: '0123'}}
";

    #[test]
    fn unknown_fields_and_number_like_strings_survive_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, TEXT).unwrap();
        let mut config = Kubeconfig::load(&[&path]).unwrap();
        config.set_context("next", json!({"cluster": "root", "user": "admin"}));
        let odd = json!({"token": "n", "a": "1e3", "b": "yes", "c": "null", "d": "0x1f", "e": "~", "f": "a: b #c", "g": "", "h": "12:30"});
        config.set_user("odd", odd.clone());
        config.set_current_context("next");
        config.save().unwrap();
        let again = Kubeconfig::load(&[&path]).unwrap();
        assert_eq!(again.current_context().as_deref(), Some("next"));
        assert_eq!(again.user("admin").unwrap(), json!({"token": "0123"}));
        assert_eq!(again.user("odd").unwrap(), odd);
        assert_eq!(again.cluster("root").unwrap()["odd-field"], json!(1));
        assert_eq!(
            again.files[0].value["extensions"][0]["extension"]["kept"],
            json!(true)
        );
        assert_eq!(again.contexts(), ["next", "root"]);
    }

    #[test]
    fn first_file_wins_and_changes_go_where_the_entry_lives() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, c) = (
            dir.path().join("a"),
            dir.path().join("b"),
            dir.path().join("c"),
        );
        std::fs::write(&b, TEXT).unwrap();
        std::fs::write(&c, TEXT.replace("0123", "other")).unwrap();
        let mut config = Kubeconfig::load(&[&a, &b, &c]).unwrap();
        assert_eq!(config.user("admin").unwrap()["token"], json!("0123"));
        config.set_user("admin", json!({"token": "new"}));
        config.set_context("fresh", json!({"cluster": "root", "user": "admin"}));
        config.save().unwrap();
        let single = |path: &Path| Kubeconfig::load(&[path]).unwrap();
        assert_eq!(single(&b).user("admin").unwrap()["token"], json!("new"));
        assert_eq!(single(&c).user("admin").unwrap()["token"], json!("other"));
        assert_eq!(single(&a).contexts(), ["fresh"]);
    }

    #[test]
    fn what_is_not_a_kubeconfig_is_refused_by_name() {
        for text in ["- a", "just text", "a: [unclosed"] {
            assert!(Kubeconfig::from_text(text).is_err(), "{text}");
        }
        assert!(
            Kubeconfig::from_text("")
                .unwrap()
                .current_context()
                .is_none()
        );
    }
}
