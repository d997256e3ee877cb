//! Client certificates: the subject's common name is the user, its organizations are the groups.
//!
//! Only certificates under `--client-ca-file` name an API user. The fleet's authority signs agents' certificates, and
//! those are never an identity here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use atoll_kube::ids::UserInfo;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authenticated;
use crate::tls;

/// The authorities whose certificates name users. Without any, no certificate does.
#[derive(Debug, Clone, Default)]
pub struct ClientAuthority {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// What a connection's client certificate proved.
#[derive(Debug, Clone)]
pub struct PeerIdentity {
    user: Arc<UserInfo>,
    not_after: i64,
}

impl PeerIdentity {
    /// The user, unless the certificate has expired since the connection was made.
    pub fn user_now(&self) -> Option<Arc<UserInfo>> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        (now.as_secs().cast_signed() <= self.not_after).then(|| self.user.clone())
    }
}

impl ClientAuthority {
    /// Trusts certificates under these authorities.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        if authorities.is_empty() {
            return Ok(Self::default());
        }
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|error| error.to_string())?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
                .build()
                .map_err(|error| error.to_string())?;
        Ok(Self {
            verifier: Some(verifier),
        })
    }

    /// The user a certificate chain names; `None` when it is not under a trusted authority, expired, or names nobody.
    pub fn identify(&self, chain: &[CertificateDer<'_>]) -> Option<PeerIdentity> {
        let (leaf, intermediates) = chain.split_first()?;
        self.verifier
            .as_ref()?
            .verify_client_cert(leaf, intermediates, UnixTime::now())
            .ok()?;
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let subject = certificate.subject();
        let username = subject
            .iter_common_name()
            .next()?
            .as_str()
            .ok()
            .filter(|name| !name.is_empty())?;
        let groups = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok());
        Some(PeerIdentity {
            user: Arc::new(authenticated(UserInfo::new(username, groups))),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    };

    fn leaf(authority: &Authority, common_name: &str, days: i32) -> CertificateDer<'static> {
        let issuer = Issuer::from_ca_cert_pem(
            &authority.certificate_pem,
            KeyPair::from_pem(&authority.key_pem).unwrap(),
        )
        .unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "devs");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(if days < 0 { 2001 } else { 2100 }, 1, 1);
        params
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap()
            .der()
            .clone()
    }

    #[test]
    fn only_valid_certificates_of_a_trusted_authority_name_a_user() {
        let trusted = Authority::make("trusted").unwrap();
        let other = Authority::make("other").unwrap();
        let authority = ClientAuthority::new(vec![trusted.certificate().unwrap()]).unwrap();
        let user = |chain: &[CertificateDer<'_>]| {
            authority
                .identify(chain)
                .and_then(|peer| peer.user_now())
                .map(|user| user.username.clone())
        };
        assert_eq!(user(&[leaf(&trusted, "ann", 1)]), Some("ann".to_owned()));
        assert_eq!(user(&[leaf(&trusted, "ann", -1)]), None, "expired");
        assert_eq!(user(&[leaf(&other, "ann", 1)]), None, "other authority");
        assert_eq!(user(&[leaf(&trusted, "", 1)]), None, "no name");
        assert_eq!(user(&[]), None);
        assert!(
            ClientAuthority::default()
                .identify(&[leaf(&trusted, "ann", 1)])
                .is_none()
        );
    }

    #[test]
    fn organizations_are_groups() {
        let trusted = Authority::make("trusted").unwrap();
        let authority = ClientAuthority::new(vec![trusted.certificate().unwrap()]).unwrap();
        let user = authority
            .identify(&[leaf(&trusted, "ann", 1)])
            .unwrap()
            .user_now()
            .unwrap();
        assert_eq!(user.groups, ["devs", "system:authenticated"]);
    }
}
