//! rustls settings out of [`Tls`]: authorities, the client's certificate, or no check at all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::Tls;
use crate::error::ClientError;

/// Where distributions keep the machine's authorities; the first that exists is used.
const MACHINE_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/openssl/cert.pem",
];

pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let wrong =
        |what: &str, error: &dyn std::fmt::Display| ClientError::Config(format!("{what}: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("TLS", &error))?;
    let builder = if tls.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        builder.with_root_certificates(roots(tls.ca.as_deref())?)
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| wrong("client certificate", &error))?;
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("client key", &error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong("client certificate", &error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, ClientError> {
    let mut store = RootCertStore::empty();
    let machine;
    let pem = match ca {
        Some(pem) => pem,
        None => {
            let file = std::env::var("SSL_CERT_FILE").ok().or_else(|| {
                MACHINE_ROOTS
                    .iter()
                    .find(|path| std::path::Path::new(path).exists())
                    .map(|path| path.to_string())
            });
            machine = match file {
                Some(file) => std::fs::read(&file).map_err(|error| {
                    ClientError::Config(format!("cannot read authorities from {file}: {error}"))
                })?,
                None => Vec::new(),
            };
            &machine
        }
    };
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        certificates.push(
            certificate
                .map_err(|error| ClientError::Config(format!("certificate authority: {error}")))?,
        );
    }
    if ca.is_some() && certificates.is_empty() {
        return Err(ClientError::Config(
            "the certificate authority data holds no certificate".into(),
        ));
    }
    // The machine's bundle may hold certificates that rustls refuses; those are of no use, the rest are.
    let (added, _) = store.add_parsable_certificates(certificates);
    if ca.is_some() && added == 0 {
        return Err(ClientError::Config(
            "the certificate authority data holds no usable certificate".into(),
        ));
    }
    Ok(store)
}

/// Believes every certificate, as `insecure-skip-tls-verify` asks; signatures are still checked.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
