//! Authorities and the serving certificate.
//!
//! An [`Authority`] is made once and kept: agents and kubeconfigs trust it. The serving certificate is a leaf under
//! the serving authority, so it may be renewed at any start without anybody noticing.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::PkiError;
use super::files::{self, Secrecy};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
const SERVING_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A serving certificate with less than this left is renewed at start.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// A certificate authority of ours: its certificate and its key, both PEM.
#[derive(Clone)]
pub struct Authority {
    /// The self-signed certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub key_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// What the TLS listener presents.
pub struct Serving {
    /// The leaf and then its authority: what `apiserver.crt` holds and kubeconfigs embed.
    pub chain_pem: String,
    /// The long-lived authority alone: what join files embed.
    pub authority_pem: String,
    /// The chain, parsed.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("chain_pem", &self.chain_pem)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads `NAME.crt` and `NAME.key`, or makes them.
    pub(super) fn open(directory: &Path, name: &str, common_name: &str) -> Result<Self, PkiError> {
        let certificate_path = directory.join(format!("{name}.crt"));
        let key_path = directory.join(format!("{name}.key"));
        if let Some(certificate_pem) = files::read_if_there(&certificate_path)? {
            let key_pem = files::read(&key_path)?;
            let authority = Self {
                certificate_pem,
                key_pem,
            };
            authority.issuer().map_err(|error| PkiError::Damaged {
                path: key_path,
                why: error.to_string(),
            })?;
            return Ok(authority);
        }
        let authority = Self::make(common_name)?;
        // The key first: a certificate without its key would be refused at the next start.
        files::replace(&key_path, authority.key_pem.as_bytes(), Secrecy::Secret)?;
        files::replace(
            &certificate_path,
            authority.certificate_pem.as_bytes(),
            Secrecy::Public,
        )?;
        Ok(authority)
    }

    /// Makes a new authority without storing it.
    pub fn make(common_name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = params_for(Vec::new(), common_name, AUTHORITY_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// The certificate in DER.
    pub fn certificate(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes())
            .map_err(|_| PkiError::Certificate(rcgen::Error::CouldNotParseCertificate))
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_pem(&self.certificate_pem, KeyPair::from_pem(&self.key_pem)?)
    }
}

impl Serving {
    pub(super) fn open(
        directory: &Path,
        authority: &Authority,
        names: &[String],
    ) -> Result<Self, PkiError> {
        let certificate_path = directory.join("apiserver.crt");
        let key_path = directory.join("apiserver.key");
        if let (Some(chain_pem), Some(key_pem)) = (
            files::read_if_there(&certificate_path)?,
            files::read_if_there(&key_path)?,
        ) && let Ok(kept) = Self::parse(&chain_pem, &key_pem, authority)
            && kept.still_good(names)
        {
            return Ok(kept);
        }
        let (chain_pem, key_pem) = issue_serving(authority, names)?;
        files::replace(&key_path, key_pem.as_bytes(), Secrecy::Secret)?;
        files::replace(&certificate_path, chain_pem.as_bytes(), Secrecy::Public)?;
        Self::parse(&chain_pem, &key_pem, authority).map_err(|why| PkiError::Damaged {
            path: certificate_path,
            why,
        })
    }

    /// A serving certificate that lives in memory only, for servers without a root directory.
    pub fn ephemeral(names: &[String]) -> Result<Self, PkiError> {
        let authority = Authority::make("atoll serving")?;
        let (chain_pem, key_pem) = issue_serving(&authority, names)?;
        Self::parse(&chain_pem, &key_pem, &authority)
            .map_err(|_| PkiError::Certificate(rcgen::Error::CouldNotParseCertificate))
    }

    fn parse(chain_pem: &str, key_pem: &str, authority: &Authority) -> Result<Self, String> {
        if !chain_pem.ends_with(&authority.certificate_pem) {
            return Err("it is not signed by serving-ca.crt".to_owned());
        }
        Ok(Self {
            chain_pem: chain_pem.to_owned(),
            authority_pem: authority.certificate_pem.clone(),
            chain: parse_chain(chain_pem)?,
            key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
                .map_err(|error| error.to_string())?,
        })
    }

    /// Covers all names, is valid for a while yet, and belongs to its key.
    fn still_good(&self, names: &[String]) -> bool {
        let Some(Ok((_, leaf))) = self.chain.first().map(|der| X509Certificate::from_der(der))
        else {
            return false;
        };
        let left = leaf.validity().not_after.timestamp() - seconds_now().as_secs().cast_signed();
        let key_matches = KeyPair::try_from(&self.key).is_ok_and(|key| {
            leaf.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
        });
        let covered = covered_names(&leaf);
        left > RENEW_BEFORE.as_secs().cast_signed()
            && key_matches
            && names.iter().all(|name| covered.contains(name))
    }
}

fn issue_serving(authority: &Authority, names: &[String]) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate()?;
    let mut params = params_for(names.to_vec(), "atoll", SERVING_LIFETIME)?;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, &authority.issuer()?)?;
    Ok((
        format!("{}{}", leaf.pem(), authority.certificate_pem),
        key.serialize_pem(),
    ))
}

fn params_for(
    names: Vec<String>,
    common_name: &str,
    lifetime: Duration,
) -> Result<CertificateParams, PkiError> {
    let now = seconds_now();
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // A day back: the clocks of edges are not always right.
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + lifetime;
    Ok(params)
}

fn seconds_now() -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Duration::from_secs(now.as_secs())
}

fn covered_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for extension in leaf.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension()
        else {
            continue;
        };
        for name in &alternatives.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(octets) => {
                    if let Ok(octets) = <[u8; 4]>::try_from(*octets) {
                        names.push(std::net::Ipv4Addr::from(octets).to_string());
                    } else if let Ok(octets) = <[u8; 16]>::try_from(*octets) {
                        names.push(std::net::Ipv6Addr::from(octets).to_string());
                    }
                }
                _ => {}
            }
        }
    }
    names
}

/// All certificates of a PEM text; an error when there is none.
pub(super) fn parse_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if chain.is_empty() {
        Err("it holds no certificate".to_owned())
    } else {
        Ok(chain)
    }
}

/// Reads a private key, or makes one (P-256, PKCS #8).
pub(super) fn open_key(path: &Path) -> Result<String, PkiError> {
    if let Some(pem) = files::read_if_there(path)? {
        KeyPair::from_pem(&pem).map_err(|error| PkiError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        return Ok(pem);
    }
    let pem = KeyPair::generate()?.serialize_pem();
    files::replace(path, pem.as_bytes(), Secrecy::Secret)?;
    Ok(pem)
}
