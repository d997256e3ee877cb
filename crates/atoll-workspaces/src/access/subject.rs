//! Who a user counts as in one logical cluster.
//!
//! Almost always that is the user as authenticated. Scopes confine an identity to some logical clusters, a service
//! account of another logical cluster is a stranger here, and warrants let a request count as somebody else too.
//! Pure.

use atoll_kube::UserInfo;
use serde_json::Value;

use crate::kinds::GROUP_AUTHENTICATED;

/// Extra field: the logical clusters an identity is confined to; several values intersect.
const EXTRA_SCOPES: &str = "authentication.kcp.io/scopes";
/// Extra field: the logical cluster a service account is from.
const EXTRA_CLUSTER: &str = "authentication.kcp.io/cluster-name";
/// Extra field: JSON of another user this request may count as.
const EXTRA_WARRANT: &str = "authorization.kcp.io/warrant";
/// How service accounts' names begin.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
/// Warrants inside warrants inside warrants end here.
const WARRANT_DEPTH: usize = 8;

/// The users whose rights count, in turn; one is enough.
pub(crate) enum Effective<'a> {
    /// The user as authenticated.
    Same(&'a UserInfo),
    /// Others.
    Others(Vec<UserInfo>),
}

impl Effective<'_> {
    /// The users.
    pub(crate) fn users(&self) -> &[UserInfo] {
        match self {
            Effective::Same(user) => std::slice::from_ref(*user),
            Effective::Others(users) => users,
        }
    }
}

/// Who a user counts as in a logical cluster.
pub(crate) fn effective<'a>(user: &'a UserInfo, cluster: &str) -> Effective<'a> {
    if user.extra.is_empty() {
        return Effective::Same(user);
    }
    let mut users = Vec::new();
    collect(user, cluster, WARRANT_DEPTH, &mut users);
    Effective::Others(users)
}

/// Whether the user is a service account of this logical cluster.
pub(crate) fn is_local_service_account(user: &UserInfo, cluster: &str) -> bool {
    user.username.starts_with(SERVICE_ACCOUNT) && home(user).is_none_or(|home| home == cluster)
}

/// Whether the user is any service account.
pub(crate) fn is_service_account(user: &UserInfo) -> bool {
    user.username.starts_with(SERVICE_ACCOUNT)
}

fn collect(user: &UserInfo, cluster: &str, depth: usize, users: &mut Vec<UserInfo>) {
    if is_service_account(user)
        && let Some(home) = home(user)
        && home != cluster
    {
        users.push(stranger(std::slice::from_ref(&home)));
    } else {
        match scopes(user) {
            Some(scopes) if !scopes.contains(&cluster) => users.push(stranger(&scopes)),
            _ => users.push(UserInfo {
                extra: Default::default(),
                ..user.clone()
            }),
        }
    }
    if depth == 0 {
        return;
    }
    for warrant in user.extra.get(EXTRA_WARRANT).into_iter().flatten() {
        if let Some(warranted) = parse_warrant(warrant) {
            collect(&warranted, cluster, depth - 1, users);
        }
    }
}

fn home(user: &UserInfo) -> Option<&str> {
    user.extra.get(EXTRA_CLUSTER)?.first().map(String::as_str)
}

/// The logical clusters that every scope value allows; `None` without scopes.
fn scopes(user: &UserInfo) -> Option<Vec<&str>> {
    let values = user.extra.get(EXTRA_SCOPES)?;
    let parse = |value: &'_ String| -> Vec<String> {
        value
            .split(',')
            .filter_map(|scope| scope.trim().strip_prefix("cluster:"))
            .map(str::to_owned)
            .collect()
    };
    let (first, rest) = values.split_first()?;
    let rest: Vec<Vec<String>> = rest.iter().map(parse).collect();
    let allowed = first
        .split(',')
        .filter_map(|scope| scope.trim().strip_prefix("cluster:"));
    Some(
        allowed
            .filter(|cluster| rest.iter().all(|set| set.iter().any(|c| c == cluster)))
            .collect(),
    )
}

/// Somebody of whom only their logical clusters are known.
fn stranger(clusters: &[&str]) -> UserInfo {
    let groups = clusters
        .iter()
        .map(|cluster| format!("system:cluster:{cluster}"));
    UserInfo::new(
        "system:anonymous",
        std::iter::once(GROUP_AUTHENTICATED.to_owned()).chain(groups),
    )
}

fn parse_warrant(text: &str) -> Option<UserInfo> {
    let value: Value = serde_json::from_str(text).ok()?;
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|s| s.as_str().map(str::to_owned))
            .collect()
    };
    let extra = value.get("extra").and_then(Value::as_object);
    Some(UserInfo {
        username: value.get("user")?.as_str()?.to_owned(),
        uid: value
            .get("uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        groups: value.get("groups").map(strings).unwrap_or_default(),
        extra: extra
            .into_iter()
            .flatten()
            .map(|(key, list)| (key.clone(), strings(list)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, extra: &[(&str, &[&str])]) -> UserInfo {
        let extra = extra.iter().map(|(key, list)| {
            (
                (*key).to_owned(),
                list.iter().map(|s| (*s).to_owned()).collect(),
            )
        });
        UserInfo {
            extra: extra.collect(),
            ..UserInfo::new(name, ["g"])
        }
    }

    fn names(user: &UserInfo, cluster: &str) -> Vec<String> {
        let shown = |user: &UserInfo| format!("{} {}", user.username, user.groups.join(","));
        effective(user, cluster).users().iter().map(shown).collect()
    }

    #[test]
    fn scopes_accounts_and_warrants_decide_who_counts() {
        let account = "system:serviceaccount:ns:sa";
        let warrant = r#"{"user":"w","groups":["x"]}"#;
        let nested =
            r#"{"user":"w","extra":{"authorization.kcp.io/warrant":["{\"user\":\"v\"}"]}}"#;
        let rows: Vec<(UserInfo, Vec<&str>)> = vec![
            (user("u", &[]), vec!["u g"]),
            (
                user("u", &[(EXTRA_SCOPES, &["cluster:here,cluster:there"])]),
                vec!["u g"],
            ),
            (
                user("u", &[(EXTRA_SCOPES, &["cluster:there"])]),
                vec!["system:anonymous system:authenticated,system:cluster:there"],
            ),
            (
                user(
                    "u",
                    &[(
                        EXTRA_SCOPES,
                        &["cluster:here,cluster:there", "cluster:there"],
                    )],
                ),
                vec!["system:anonymous system:authenticated,system:cluster:there"],
            ),
            (
                user("u", &[(EXTRA_SCOPES, &["cluster:here", "cluster:there"])]),
                vec!["system:anonymous system:authenticated"],
            ),
            (
                user(account, &[(EXTRA_CLUSTER, &["here"])]),
                vec!["system:serviceaccount:ns:sa g"],
            ),
            (
                user(account, &[(EXTRA_CLUSTER, &["there"])]),
                vec!["system:anonymous system:authenticated,system:cluster:there"],
            ),
            (
                user("u", &[(EXTRA_WARRANT, &[warrant])]),
                vec!["u g", "w x"],
            ),
            (
                user("u", &[(EXTRA_WARRANT, &[nested, "not json"])]),
                vec!["u g", "w ", "v "],
            ),
        ];
        for (user, expected) in rows {
            assert_eq!(names(&user, "here"), expected, "{user:?}");
        }
    }
}
