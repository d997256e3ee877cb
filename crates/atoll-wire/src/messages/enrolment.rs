//! Enrolment and renewal: how an agent gets its certificates.

use bytes::Bytes;

/// A new agent asks for its first certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnrolRequest {
    /// The join file's inventory.
    #[prost(string, tag = "1")]
    pub inventory: String,
    /// The join file's destination uid.
    #[prost(string, tag = "2")]
    pub destination: String,
    /// The join token.
    #[prost(string, tag = "3")]
    pub token: String,
    /// A PKCS#10 signing request (DER). Only its public key is used; the center chooses the subject.
    #[prost(bytes = "bytes", tag = "4")]
    pub csr_der: Bytes,
}

/// An agent asks for the next certificate, authenticated by the present (possibly expired) one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RenewRequest {
    /// A PKCS#10 signing request (DER), with the old key or a new one.
    #[prost(bytes = "bytes", tag = "1")]
    pub csr_der: Bytes,
}

/// What enrolment and renewal answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Certificates {
    /// The client certificate and its issuers, PEM, leaf first.
    #[prost(string, tag = "1")]
    pub chain_pem: String,
    /// The authority to verify the center with from now on, PEM.
    #[prost(string, tag = "2")]
    pub center_ca_pem: String,
    /// When the certificate expires.
    #[prost(int64, tag = "3")]
    pub not_after_unix: i64,
    /// When to renew it (about two thirds of its life).
    #[prost(int64, tag = "4")]
    pub renew_after_unix: i64,
}
