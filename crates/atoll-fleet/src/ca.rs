//! The fleet's certificate authority: signs agents' certificates and tells whose a certificate is.
//!
//! It signs only client certificates whose subject is a destination; it never authenticates an API user. An expired certificate is told apart from a forged one, because it
//! still opens renewal.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use atoll_kube::Timestamp;
use atoll_wire::identity::{AgentIdentity, ORGANIZATION};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

/// How long an agent's certificate is valid, unless another time is given.
pub const VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// Clocks differ a little.
const SKEW: Duration = Duration::from_secs(300);
/// How long the authority itself is valid.
const CA_VALIDITY: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// What can be wrong with the authority's files or a request.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Cryptography refused.
    #[error("certificate: {0}")]
    Crypto(String),
    /// The signing request is no good.
    #[error("the signing request cannot be used: {0}")]
    Request(String),
}

/// Whose certificate it is, and whether it is still valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The destination it names.
    pub identity: AgentIdentity,
    /// Its time is over: good for renewal only.
    pub expired: bool,
}

/// The authority.
pub struct FleetCa {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
    validity: Duration,
}

impl FleetCa {
    /// Loads `fleet-ca.crt` and `fleet-ca.key` from a directory, making them when neither exists.
    pub fn load_or_create(directory: &Path, now: Timestamp) -> Result<Self, CaError> {
        let (cert, key) = (
            directory.join("fleet-ca.crt"),
            directory.join("fleet-ca.key"),
        );
        if !cert.exists() && !key.exists() {
            std::fs::create_dir_all(directory).map_err(|source| CaError::File {
                path: directory.to_owned(),
                source,
            })?;
            let (cert_pem, key_pem) = generate(now)?;
            write_private(&key, &key_pem)?;
            std::fs::write(&cert, &cert_pem).map_err(|source| CaError::File {
                path: cert.clone(),
                source,
            })?;
        }
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| CaError::File {
                path: path.to_owned(),
                source,
            })
        };
        Self::from_pem(&read(&cert)?, &read(&key)?)
    }

    /// From the PEM texts of certificate and key.
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, CaError> {
        let crypto = |e: rcgen::Error| CaError::Crypto(e.to_string());
        let pair = KeyPair::from_pem(key).map_err(crypto)?;
        let issuer = Issuer::from_ca_cert_pem(cert, pair).map_err(crypto)?;
        let der = CertificateDer::from_pem_slice(cert.as_bytes())
            .map_err(|e| CaError::Crypto(e.to_string()))?;
        Ok(FleetCa {
            issuer,
            der,
            pem: cert.to_owned(),
            validity: VALIDITY,
        })
    }

    /// Signs certificates that are valid for so long.
    #[must_use]
    pub fn valid_for(self, validity: Duration) -> Self {
        FleetCa { validity, ..self }
    }

    /// How long a certificate signed now is valid.
    pub fn validity(&self) -> Duration {
        self.validity
    }

    /// When a certificate signed now is to be renewed: a third of its time is left then for trying.
    pub fn renew_after(&self) -> Duration {
        self.validity * 2 / 3
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a request for a destination: its public key, our subject. Returns leaf and authority as PEM.
    pub fn sign(
        &self,
        csr_der: &[u8],
        identity: &AgentIdentity,
        now: Timestamp,
    ) -> Result<String, CaError> {
        let request = |e: rcgen::Error| CaError::Request(e.to_string());
        check_possession(csr_der)?;
        let mut csr =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der))
                .map_err(request)?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, ORGANIZATION);
        params
            .distinguished_name
            .push(DnType::CommonName, identity.common_name());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = when(now, SKEW, false).into();
        params.not_after = when(now, self.validity, true).into();
        params.serial_number = Some(SerialNumber::from(rand::random::<[u8; 16]>().to_vec()));
        csr.params = params;
        let leaf = csr.signed_by(&self.issuer).map_err(request)?;
        Ok(format!("{}{}", leaf.pem(), self.pem))
    }

    /// Whose certificate this is; `None` when we did not sign it.
    pub fn verify(&self, leaf_der: &[u8], now: Timestamp) -> Option<Presented> {
        let (_, leaf) = X509Certificate::from_der(leaf_der).ok()?;
        let (_, authority) = X509Certificate::from_der(&self.der).ok()?;
        leaf.verify_signature(Some(authority.public_key())).ok()?;
        let subject = leaf.subject();
        let organization = subject.iter_organization().next()?.as_str().ok()?;
        let identity = AgentIdentity::parse(subject.iter_common_name().next()?.as_str().ok()?)?;
        let seconds = now.0.div_euclid(1000);
        let validity = leaf.validity();
        if organization != ORGANIZATION || validity.not_before.timestamp() > seconds {
            return None;
        }
        Some(Presented {
            identity,
            expired: validity.not_after.timestamp() < seconds,
        })
    }
}

impl std::fmt::Debug for FleetCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetCa")
    }
}

/// The hash that a join token is bound to: of the request's public key.
pub fn public_key_hash(csr_der: &[u8]) -> Result<[u8; 32], CaError> {
    let (_, csr) =
        X509CertificationRequest::from_der(csr_der).map_err(|e| CaError::Request(e.to_string()))?;
    Ok(Sha256::digest(csr.certification_request_info.subject_pki.raw).into())
}

fn check_possession(csr_der: &[u8]) -> Result<(), CaError> {
    let (_, csr) =
        X509CertificationRequest::from_der(csr_der).map_err(|e| CaError::Request(e.to_string()))?;
    csr.verify_signature()
        .map_err(|_| CaError::Request("it is not signed with its own key".to_owned()))
}

fn generate(now: Timestamp) -> Result<(String, String), CaError> {
    let crypto = |e: rcgen::Error| CaError::Crypto(e.to_string());
    let pair = KeyPair::generate().map_err(crypto)?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "atoll fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.not_before = when(now, SKEW, false).into();
    params.not_after = when(now, CA_VALIDITY, true).into();
    let cert = params.self_signed(&pair).map_err(crypto)?;
    Ok((cert.pem(), pair.serialize_pem()))
}

fn when(now: Timestamp, distance: Duration, later: bool) -> SystemTime {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    if later {
        now + distance
    } else {
        now.checked_sub(distance).unwrap_or(now)
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), CaError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()))
        .map_err(|source| CaError::File {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    fn ca() -> FleetCa {
        let (cert, key) = generate(NOW).unwrap();
        FleetCa::from_pem(&cert, &key).unwrap()
    }

    fn csr() -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        CertificateParams::default()
            .serialize_request(&key)
            .unwrap()
            .der()
            .to_vec()
    }

    fn leaf(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes())
            .unwrap()
            .to_vec()
    }

    #[test]
    fn a_signed_certificate_names_its_destination_until_it_expires_and_after() {
        let ca = ca();
        let identity = AgentIdentity {
            inventory: "1abc".into(),
            destination: "uid-1".into(),
        };
        let leaf = leaf(&ca.sign(&csr(), &identity, NOW).unwrap());
        assert_eq!(
            ca.verify(&leaf, NOW),
            Some(Presented {
                identity: identity.clone(),
                expired: false
            })
        );
        let later = NOW.plus(ca.validity() + Duration::from_secs(60));
        assert_eq!(
            ca.verify(&leaf, later),
            Some(Presented {
                identity,
                expired: true
            })
        );
    }

    #[test]
    fn a_shorter_time_is_kept() {
        let ca = ca().valid_for(Duration::from_secs(30));
        assert_eq!(ca.renew_after(), Duration::from_secs(20));
        let identity = AgentIdentity {
            inventory: "i".into(),
            destination: "d".into(),
        };
        let leaf = leaf(&ca.sign(&csr(), &identity, NOW).unwrap());
        for (after, expired) in [(29, false), (31, true)] {
            let at = NOW.plus(Duration::from_secs(after));
            assert_eq!(ca.verify(&leaf, at).unwrap().expired, expired);
        }
    }

    #[test]
    fn another_authority_and_a_broken_request_are_refused() {
        let identity = AgentIdentity {
            inventory: "i".into(),
            destination: "d".into(),
        };
        let leaf = leaf(&ca().sign(&csr(), &identity, NOW).unwrap());
        assert_eq!(ca().verify(&leaf, NOW), None);
        assert_eq!(ca().verify(b"junk", NOW), None);
        let mut broken = csr();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        assert!(matches!(
            ca().sign(&broken, &identity, NOW),
            Err(CaError::Request(_))
        ));
    }

    #[test]
    fn the_key_decides_the_token_binding() {
        let one = csr();
        assert_eq!(
            public_key_hash(&one).unwrap(),
            public_key_hash(&one).unwrap()
        );
        assert_ne!(
            public_key_hash(&one).unwrap(),
            public_key_hash(&csr()).unwrap()
        );
    }
}
