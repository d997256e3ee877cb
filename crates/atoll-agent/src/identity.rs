//! Who the agent is to its center: a key that never leaves the edge, and a short-lived certificate for it.
//!
//! Kept in the state directory and, against its loss, in a Secret at the edge. A key is made and kept *before* it is sent, so that an enrolment whose answer was
//! lost can be repeated with the same key.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use atoll_client::{ClientError, Patch};
use atoll_wire::{Certificates, join::JoinFile};
use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    edge::{Edge, MANAGER},
    plan::OWN_NAMESPACE,
};

/// All that a reconnect needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The destination's uid.
    pub(crate) destination: String,
    /// The private key, PEM.
    pub(crate) key: String,
    /// The certificate and its issuers, PEM; empty before enrolment.
    pub(crate) chain: String,
    /// The center's authority, PEM; empty before enrolment.
    pub(crate) center_ca: String,
    /// When the certificate expires.
    pub(crate) not_after: i64,
    /// When to renew it.
    pub(crate) renew_after: i64,
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Keys or requests could not be made.
    #[error("making a key or a signing request: {0}")]
    Key(#[from] rcgen::Error),
    /// The state directory belongs to another destination.
    #[error(
        "the state directory belongs to destination {found}, the join file is for {wanted}; give each edge a state directory of its own"
    )]
    Another {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

impl Identity {
    /// A new key, not enrolled yet.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate(destination: &str) -> Result<Self, IdentityError> {
        Ok(Identity {
            destination: destination.to_owned(),
            key: rcgen::KeyPair::generate()?.serialize_pem(),
            chain: String::new(),
            center_ca: String::new(),
            not_after: 0,
            renew_after: 0,
        })
    }

    /// Whether it was enrolled at some time.
    pub(crate) fn is_enrolled(&self) -> bool {
        !self.chain.is_empty()
    }

    /// Whether the certificate should be renewed now.
    pub(crate) fn wants_renewal(&self) -> bool {
        now_unix() >= self.renew_after
    }

    /// How long a session may last before the certificate is renewed. Not less than a little: clocks that differ must not make a session end as soon as it began.
    pub(crate) fn until_renewal(&self) -> Duration {
        let least = (self.not_after - self.renew_after).clamp(1, 60);
        let left = (self.renew_after - now_unix()).max(least);
        Duration::from_secs(left.unsigned_abs())
    }

    /// A signing request (DER) for the key.
    pub(crate) fn signing_request(&self) -> Result<Bytes, IdentityError> {
        let key = rcgen::KeyPair::from_pem(&self.key)?;
        let request =
            rcgen::CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?;
        Ok(Bytes::copy_from_slice(request.der()))
    }

    /// Takes the center's answer in.
    pub(crate) fn accept(&mut self, certificates: Certificates) {
        self.chain = certificates.chain_pem;
        self.center_ca = certificates.center_ca_pem;
        self.not_after = certificates.not_after_unix;
        self.renew_after = certificates.renew_after_unix;
    }

    /// What the state directory holds, for this join file.
    pub(crate) fn load(directory: &Path, join: &JoinFile) -> Result<Option<Self>, IdentityError> {
        let path = directory.join("identity.json");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|source| IdentityError::Io {
                path: path.display().to_string(),
                source,
            })?,
        };
        let Ok(identity) = serde_json::from_str::<Identity>(&text) else {
            tracing::warn!(path = %path.display(), "unreadable, and made anew");
            return Ok(None);
        };
        if identity.destination != join.destination {
            return Err(IdentityError::Another {
                found: identity.destination,
                wanted: join.destination.clone(),
            });
        }
        Ok(Some(identity))
    }

    /// Keeps it in the state directory, readable by the owner only.
    pub(crate) fn save(&self, directory: &Path) -> Result<(), IdentityError> {
        let path = directory.join("identity.json");
        let half = directory.join("identity.half");
        let write = || {
            let _ = fs::remove_file(&half);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&half)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.flush()?;
            file.sync_all()?;
            fs::rename(&half, &path)
        };
        write().map_err(|source| IdentityError::Io {
            path: path.display().to_string(),
            source,
        })
    }
}

impl Edge {
    /// The identity kept at the edge, if any.
    pub(crate) async fn kept_identity(&self) -> Result<Option<Identity>, ClientError> {
        let Some(secret) = self.client.find(&self.identity_path()).await? else {
            return Ok(None);
        };
        let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
        let json = secret
            .pointer("/data/identity")
            .and_then(|d| d.as_str())
            .and_then(decode);
        let identity = json.and_then(|json| serde_json::from_slice::<Identity>(&json).ok());
        Ok(identity.filter(|i| *i.destination == *self.destination))
    }

    /// Keeps the identity at the edge.
    pub(crate) async fn keep_identity(&self, identity: &Identity) -> Result<(), ClientError> {
        self.ensure_own_namespace().await?;
        // An identity holds strings and numbers only.
        let json = serde_json::to_vec(identity).unwrap_or_default();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": self.identity_name()},
            "data": {"identity": base64::engine::general_purpose::STANDARD.encode(json)},
        });
        let path = format!("{}?fieldManager={MANAGER}&force=true", self.identity_path());
        self.client
            .patch(&path, Patch::Apply, &secret)
            .await
            .map(drop)
    }

    fn identity_name(&self) -> String {
        format!("identity-{}", self.destination)
    }

    fn identity_path(&self) -> String {
        format!(
            "/api/v1/namespaces/{OWN_NAMESPACE}/secrets/{}",
            self.identity_name()
        )
    }
}

/// Seconds since 1970.
pub(crate) fn now_unix() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(destination: &str) -> JoinFile {
        JoinFile {
            api_version: String::new(),
            kind: String::new(),
            server: String::new(),
            certificate_authority_data: String::new(),
            inventory: String::new(),
            name: String::new(),
            destination: destination.into(),
            token: String::new(),
            expires: None,
        }
    }

    #[test]
    fn an_identity_is_kept_privately_and_for_one_destination() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(directory.path(), &join("d")).unwrap(), None);
        let identity = Identity::generate("d").unwrap();
        identity.save(directory.path()).unwrap();
        let mode = fs::metadata(directory.path().join("identity.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            Identity::load(directory.path(), &join("d")).unwrap(),
            Some(identity)
        );
        assert!(matches!(
            Identity::load(directory.path(), &join("e")),
            Err(IdentityError::Another { .. })
        ));
    }

    #[test]
    fn a_session_lasts_until_renewal_but_never_no_time() {
        let mut identity = Identity::generate("d").unwrap();
        let now = now_unix();
        for (renew_after, not_after, least, most) in [
            (now + 600, now + 900, 590, 600),
            // The center's clock is behind: what it just gave is to be renewed already.
            (now - 600, now - 300, 60, 60),
            (now - 6, now - 3, 3, 3),
            (0, 0, 1, 1),
        ] {
            (identity.renew_after, identity.not_after) = (renew_after, not_after);
            let left = identity.until_renewal().as_secs();
            assert!((least..=most).contains(&left), "{left}");
        }
    }

    #[test]
    fn a_signing_request_is_for_the_same_key_each_time() {
        let identity = Identity::generate("d").unwrap();
        assert!(!identity.is_enrolled() && identity.wants_renewal());
        assert!(!identity.signing_request().unwrap().is_empty());
    }
}
