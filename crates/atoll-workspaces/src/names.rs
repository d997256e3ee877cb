//! Names of logical clusters and the hashes behind them, bit-exact where kcp's clients and tests depend on them.
//!
//! Pure: random bytes come from the caller.

use sha2::{Digest as _, Sha224};

/// The logical cluster at the top of the tree; its name is its path.
pub const ROOT: &str = "root";
/// The logical cluster that holds the bootstrap policy.
pub const SYSTEM_ADMIN: &str = "system:admin";
/// The name of the singleton LogicalCluster in every logical cluster.
pub const LOGICAL_CLUSTER: &str = "cluster";
/// First segment of the paths that stand for home workspaces.
const HOME_PREFIX: &str = "user:";
/// Length of a generated logical cluster name.
const CLUSTER_NAME_LENGTH: usize = 16;
/// Digits of a SHA-224 in base 36.
const SHA224_BASE36_LENGTH: usize = 44;

/// The name of a new logical cluster, from 32 random bytes.
pub fn cluster_name(random: &[u8; 32]) -> String {
    let digits = base36(&Sha224::digest(random));
    let mut name = format!("{digits:0>SHA224_BASE36_LENGTH$}");
    name.truncate(CLUSTER_NAME_LENGTH);
    name
}

/// The name of a user's home logical cluster: the same for the same user name, everywhere.
pub fn home_cluster_name(user: &str) -> String {
    base36(&Sha224::digest(user.as_bytes())[..8])
}

/// The path under which a home workspace is known.
pub fn home_path(user: &str) -> String {
    format!("{HOME_PREFIX}{user}")
}

/// The user whose home a path names, for `user:<name>` and nothing longer.
pub fn home_user(path: &str) -> Option<&str> {
    path.strip_prefix(HOME_PREFIX)
        .filter(|user| !user.is_empty())
}

/// The short hash by which annotations name a shard.
pub fn shard_hash(shard: &str) -> String {
    let mut hash = base36(&Sha224::digest(shard.as_bytes()));
    hash.truncate(8);
    hash
}

/// The name of a type's initializer: the *name* of the logical cluster that holds the type, never its path.
pub fn initializer(type_cluster: &str, type_name: &str) -> String {
    format!("{type_cluster}:{type_name}")
}

/// The form of a logical cluster's path or name, for messages.
pub const CLUSTER_PATH: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(:[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Whether a string has the form of a logical cluster's path or name: DNS labels joined by colons.
pub fn is_cluster_path(path: &str) -> bool {
    path.len() <= 2048 && path.split(':').all(is_path_segment)
}

/// Whether a workspace of this name can be reached by a path.
pub(crate) fn is_path_segment(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = segment.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            plain(first) && plain(last) && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
        }
        _ => false,
    }
}

/// Big-endian bytes as a base 36 number, with one leading `0` for each leading zero byte.
fn base36(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let mut number = bytes[zeros..].to_vec();
    let mut reversed = Vec::with_capacity(bytes.len() * 2);
    while number.iter().any(|&byte| byte != 0) {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 36) as u8;
            remainder = value % 36;
        }
        reversed.push(DIGITS[remainder as usize]);
    }
    reversed.extend(std::iter::repeat_n(b'0', zeros));
    reversed
        .iter()
        .rev()
        .map(|&digit| char::from(digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_names_are_those_of_kcp() {
        for (user, name) in [
            ("alice", "v1u4alow0iv9"),
            ("bob", "2okdry95y5lkv"),
            ("user172", "0f9mt7goyif7"),
        ] {
            assert_eq!(home_cluster_name(user), name, "{user}");
        }
    }

    #[test]
    fn cluster_names_are_sixteen_base36_digits() {
        for seed in 0..64u8 {
            let name = cluster_name(&[seed; 32]);
            assert_eq!(name.len(), 16);
            assert!(is_cluster_path(&name), "{name}");
        }
        assert_ne!(cluster_name(&[0; 32]), cluster_name(&[1; 32]));
    }

    #[test]
    fn base36_counts_leading_zero_bytes() {
        for (bytes, digits) in [
            (&[0u8, 0, 35][..], "00z"),
            (&[1, 0], "74"),
            (&[], ""),
            (&[0], "0"),
            (&[36], "10"),
            (&[255, 255], "1ekf"),
        ] {
            assert_eq!(base36(bytes), digits, "{bytes:?}");
        }
    }

    #[test]
    fn paths_are_labels_joined_by_colons() {
        for good in [
            "root",
            "root:a:b-c",
            "system:admin",
            "v1u4alow0iv9",
            "user:alice",
            "0a:1",
        ] {
            assert!(is_cluster_path(good), "{good}");
        }
        for bad in [
            "", ":", "root:", ":root", "root::a", "Root", "root:a_b", "root:-a", "root:a-",
            "root/a", "*", "root:ä",
        ] {
            assert!(!is_cluster_path(bad), "{bad}");
        }
    }

    #[test]
    fn only_whole_user_paths_are_homes() {
        for (path, user) in [
            ("user:alice", Some("alice")),
            ("user:", None),
            ("users:a", None),
            ("root:user", None),
        ] {
            assert_eq!(home_user(path), user, "{path}");
        }
    }
}
