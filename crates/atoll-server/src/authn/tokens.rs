//! Static bearer tokens: the administrators' and those of `--token-auth-file`.
//!
//! Tokens are kept and looked up by their SHA-256, so neither memory nor the time of a lookup tells anything about them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atoll_kube::ids::UserInfo;
use sha2::{Digest, Sha256};

use super::authenticated;

/// A token file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not `token,user,uid[,"group1,group2"]`.
    #[error(
        "{} line {line}: {why}; each line is token,user,uid and perhaps a quoted list of groups",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Tokens and whose they are.
#[derive(Debug, Default, Clone)]
pub struct Tokens {
    users: HashMap<[u8; 32], Arc<UserInfo>>,
}

impl Tokens {
    /// Adds a token.
    pub fn add(&mut self, token: &str, user: UserInfo) {
        self.users
            .insert(hash(token), Arc::new(authenticated(user)));
    }

    /// Adds all tokens of a CSV file in Kubernetes' format.
    pub fn add_file(&mut self, path: &Path) -> Result<(), TokenFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        self.add_csv(&text)
            .map_err(|(line, why)| TokenFileError::Line {
                path: path.to_owned(),
                line,
                why,
            })
    }

    fn add_csv(&mut self, text: &str) -> Result<(), (usize, &'static str)> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |why| (index + 1, why);
            let fields = split_csv(line).ok_or(at("a quote is not closed"))?;
            let [token, name, uid, rest @ ..] = fields.as_slice() else {
                return Err(at("fewer than three fields"));
            };
            if token.is_empty() {
                return Err(at("the token is empty"));
            }
            if name.is_empty() {
                return Err(at("the user name is empty"));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups
                .split(',')
                .map(str::trim)
                .filter(|group| !group.is_empty());
            let mut user = UserInfo::new(name, groups);
            user.uid.clone_from(uid);
            self.add(token, user);
        }
        Ok(())
    }

    /// Whose token it is.
    pub fn user(&self, token: &str) -> Option<Arc<UserInfo>> {
        self.users.get(&hash(token)).cloned()
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The fields of one CSV line; `None` when a quote is left open.
fn split_csv(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            ' ' if !quoted && field.is_empty() => {}
            _ => field.push(letter),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(&str, &str, &[&str]), &str>) {
        let mut tokens = Tokens::default();
        let read = tokens.add_csv(line);
        match expected {
            Err(why) => assert!(read.is_err_and(|(_, found)| found.contains(why)), "{line}"),
            Ok((name, uid, groups)) => {
                read.unwrap();
                let user = tokens.user("t").unwrap();
                let mut all = groups.to_vec();
                all.push("system:authenticated");
                assert_eq!(
                    (user.username.as_str(), user.uid.as_str(), &user.groups[..]),
                    (
                        name,
                        uid,
                        &all.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>()[..]
                    )
                );
            }
        }
    }

    #[test]
    fn lines_are_token_user_uid_groups() {
        check("t,user-1,1111-1111", Ok(("user-1", "1111-1111", &[])));
        check(
            "t,user-1,1111,\"team-1\"",
            Ok(("user-1", "1111", &["team-1"])),
        );
        check(
            "t,user-1,,\"team-1,team 2\"",
            Ok(("user-1", "", &["team-1", "team 2"])),
        );
        check("t, user-1, 1, team-1", Ok(("user-1", "1", &["team-1"])));
        check("# t,u,1\n\nt,\"o\"\"neil\",1", Ok(("o\"neil", "1", &[])));
        check("t,user-1", Err("fewer than three"));
        check(",user-1,1", Err("token is empty"));
        check("t,,1", Err("user name is empty"));
        check("t,u,1,\"a,b", Err("not closed"));
    }
}
