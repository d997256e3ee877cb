//! Acting as somebody else: the `Impersonate-*` headers.
//!
//! Pure: [`requested`] reads the headers, [`Wish::checks`] says what the caller must be allowed to `impersonate`, and
//! [`Wish::become_user`] makes the user. As in kcp, nobody but a master gains `system:masters` or a `system:kcp:` group
//! this way, and the user made by anybody else is confined to the logical cluster that the request was sent to.

use std::collections::BTreeMap;

use atoll_kube::ids::{GroupResource, UserInfo};
use atoll_kube::status::Status;
use http::HeaderMap;

use super::{AUTHENTICATED, MASTERS};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const SCOPES: &str = "authentication.kcp.io/scopes";
/// Extra field: another user whom a request may count as.
const WARRANT: &str = "authorization.kcp.io/warrant";

/// Whom a request wants to act as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// One thing the caller must be allowed to impersonate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The group of the pretended resource.
    pub group: &'static str,
    /// `users`, `groups`, `uids`, `userextras` or `serviceaccounts`.
    pub resource: &'static str,
    /// The extra's key.
    pub subresource: Option<String>,
    /// Of a service account.
    pub namespace: Option<String>,
    /// The name or value.
    pub name: String,
}

/// The wish in the headers, if there is one.
pub fn requested(headers: &HeaderMap) -> Result<Option<Wish>, Status> {
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    };
    let username = all(USER).into_iter().next().unwrap_or_default();
    let uid = all(UID).into_iter().next().unwrap_or_default();
    let groups = all(GROUP);
    let mut extra = BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            extra.insert(percent_decoded(key), all(name.as_str()));
        }
    }
    if username.is_empty() {
        if uid.is_empty() && groups.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request(
            "groups, a uid or extras are to be impersonated without a user: Impersonate-User is missing",
        ));
    }
    Ok(Some(Wish {
        username,
        uid,
        groups,
        extra,
    }))
}

impl Wish {
    /// What the caller must be allowed to impersonate, all of it.
    pub fn checks(&self) -> Vec<Need> {
        let mut needs = Vec::new();
        let need = |group, resource, name: &str| Need {
            group,
            resource,
            subresource: None,
            namespace: None,
            name: name.to_owned(),
        };
        if let Some((namespace, name)) = service_account(&self.username) {
            needs.push(Need {
                namespace: Some(namespace.to_owned()),
                ..need("", "serviceaccounts", name)
            });
        } else {
            needs.push(need("", "users", &self.username));
        }
        for group in &self.groups {
            needs.push(need("", "groups", group));
        }
        if !self.uid.is_empty() {
            needs.push(need("authentication.k8s.io", "uids", &self.uid));
        }
        for (key, values) in &self.extra {
            for value in values {
                needs.push(Need {
                    subresource: Some(key.clone()),
                    ..need("authentication.k8s.io", "userextras", value)
                });
            }
        }
        needs
    }

    /// The user acted as. `cluster` is the logical cluster the request was sent to.
    pub fn become_user(
        &self,
        caller: &UserInfo,
        cluster: Option<&str>,
    ) -> Result<UserInfo, Status> {
        let mut user = UserInfo {
            username: self.username.clone(),
            uid: self.uid.clone(),
            groups: self.groups.clone(),
            extra: self.extra.clone(),
        };
        if !caller.is_in(MASTERS) {
            let reserved = |group: &&String| *group == MASTERS || group.starts_with("system:kcp:");
            if let Some(group) = user.groups.iter().find(reserved) {
                return Err(Status::forbidden(
                    &GroupResource::new("", "groups"),
                    group,
                    "only a member of system:masters may impersonate this group",
                ));
            }
            // A warrant speaks for a user nobody was asked about, in any logical cluster.
            if self.extra.contains_key(WARRANT) {
                return Err(Status::forbidden(
                    &GroupResource::new("authentication.k8s.io", "userextras"),
                    WARRANT,
                    "only a member of system:masters may impersonate with a warrant",
                ));
            }
            if let Some(cluster) = cluster {
                user.extra
                    .entry(SCOPES.to_owned())
                    .or_default()
                    .push(format!("cluster:{cluster}"));
            }
        }
        if self.groups.is_empty()
            && let Some((namespace, _)) = service_account(&self.username)
        {
            user.groups.push("system:serviceaccounts".to_owned());
            user.groups
                .push(format!("system:serviceaccounts:{namespace}"));
        }
        let known = if user.username == "system:anonymous" {
            "system:unauthenticated"
        } else {
            AUTHENTICATED
        };
        if !user.is_in(known) {
            user.groups.push(known.to_owned());
        }
        Ok(user)
    }
}

fn service_account(username: &str) -> Option<(&str, &str)> {
    username
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')
}

/// Extra keys are percent-encoded where a header name could not hold them.
fn percent_decoded(text: &str) -> String {
    crate::request::percent_decode(text).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        headers
    }

    fn wish(pairs: &[(&str, &str)]) -> Wish {
        requested(&headers(pairs)).unwrap().unwrap()
    }

    #[test]
    fn a_wish_needs_a_user() {
        assert_eq!(requested(&HeaderMap::new()), Ok(None));
        assert_eq!(
            requested(&headers(&[("Impersonate-Group", "g")]))
                .unwrap_err()
                .code,
            400
        );
        assert_eq!(
            requested(&headers(&[("Impersonate-Extra-scopes", "g")]))
                .unwrap_err()
                .code,
            400
        );
    }

    #[test]
    fn every_part_is_checked() {
        let wish = wish(&[
            ("Impersonate-User", "ann"),
            ("Impersonate-Group", "devs"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Uid", "u1"),
            ("Impersonate-Extra-acme.com%2Fproject", "p"),
        ]);
        let needs: Vec<_> = wish
            .checks()
            .into_iter()
            .map(|need| {
                format!(
                    "{}/{}/{}",
                    need.resource,
                    need.subresource.unwrap_or_default(),
                    need.name
                )
            })
            .collect();
        assert_eq!(
            needs,
            [
                "users//ann",
                "groups//devs",
                "groups//ops",
                "uids//u1",
                "userextras/acme.com/project/p"
            ]
        );
    }

    #[test]
    fn service_accounts_are_checked_as_such_and_get_their_groups() {
        let wish = wish(&[("Impersonate-User", "system:serviceaccount:ns:sa")]);
        let need = &wish.checks()[0];
        assert_eq!(
            (need.resource, need.namespace.as_deref(), need.name.as_str()),
            ("serviceaccounts", Some("ns"), "sa")
        );
        let user = wish
            .become_user(&UserInfo::new("root", [MASTERS]), None)
            .unwrap();
        assert_eq!(
            user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:ns",
                "system:authenticated"
            ]
        );
    }

    #[test]
    fn only_masters_gain_power_or_leave_the_cluster() {
        let powerful = wish(&[
            ("Impersonate-User", "ann"),
            ("Impersonate-Group", "system:kcp:admin"),
        ]);
        let caller = UserInfo::new("ann", ["devs"]);
        let master = UserInfo::new("root", [MASTERS]);
        assert_eq!(
            powerful.become_user(&caller, Some("abc")).unwrap_err().code,
            403
        );
        assert!(powerful.become_user(&master, Some("abc")).is_ok());
        let plain = wish(&[("Impersonate-User", "bob")]);
        assert_eq!(
            plain.become_user(&caller, Some("abc")).unwrap().extra[SCOPES],
            ["cluster:abc"]
        );
        assert!(
            plain
                .become_user(&master, Some("abc"))
                .unwrap()
                .extra
                .is_empty()
        );
    }
}
