//! What a token says, and the signature under it.

use atoll_kube::{Timestamp, UserInfo};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{HOME, ISSUER};

/// The issuer of tokens in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The longest token that is looked at.
const LONGEST: usize = 16 * 1024;

/// One object, at one life of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) uid: String,
}

/// What a token may be bound to besides its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Pod,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Secret, Self::Pod];

    /// As objects say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::Pod => "Pod",
        }
    }

    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Pod => "pods",
        }
    }

    fn claim(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Pod => "pod",
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) cluster: String,
    pub(super) namespace: String,
    pub(super) account: Bound,
    pub(super) bound: Option<(Kind, Bound)>,
    /// The Secret that the token lives in; such a token does not expire.
    pub(super) secret: Option<String>,
    pub(super) audiences: Vec<String>,
    /// Seconds since 1970.
    pub(super) issued: i64,
    pub(super) expires: i64,
    pub(super) id: String,
}

impl Claims {
    pub(super) fn holds_at(&self, now: Timestamp) -> bool {
        let second = now.0.div_euclid(1000);
        self.secret.is_some() || (self.issued <= second + 10 && second < self.expires)
    }

    fn subject(&self) -> String {
        format!(
            "system:serviceaccount:{}:{}",
            self.namespace, self.account.name
        )
    }

    /// The account as a user.
    pub(super) fn user(&self) -> UserInfo {
        let mut user = UserInfo::new(
            self.subject(),
            [
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{}", self.namespace),
            ],
        );
        user.uid.clone_from(&self.account.uid);
        let mut extra = |name: &str, value: String| {
            user.extra.insert(name.to_owned(), vec![value]);
        };
        extra(HOME, self.cluster.clone());
        if !self.id.is_empty() {
            extra(
                "authentication.kubernetes.io/credential-id",
                format!("JTI={}", self.id),
            );
        }
        if let Some((Kind::Pod, pod)) = &self.bound {
            extra("authentication.kubernetes.io/pod-name", pod.name.clone());
            extra("authentication.kubernetes.io/pod-uid", pod.uid.clone());
        }
        user
    }

    fn to_json(&self) -> Value {
        let subject = self.subject();
        if let Some(secret) = &self.secret {
            return json!({
                "iss": LEGACY_ISSUER,
                "sub": subject,
                "kubernetes.io/serviceaccount/namespace": self.namespace,
                "kubernetes.io/serviceaccount/secret.name": secret,
                "kubernetes.io/serviceaccount/service-account.name": self.account.name,
                "kubernetes.io/serviceaccount/service-account.uid": self.account.uid,
                "kubernetes.io/serviceaccount/clusterName": self.cluster,
            });
        }
        let mut private = json!({
            "clusterName": self.cluster,
            "namespace": self.namespace,
            "serviceaccount": {"name": self.account.name, "uid": self.account.uid},
        });
        if let Some((kind, bound)) = &self.bound {
            private[kind.claim()] = json!({"name": bound.name, "uid": bound.uid});
        }
        json!({
            "iss": ISSUER, "sub": subject, "aud": self.audiences, "jti": self.id,
            "iat": self.issued, "nbf": self.issued, "exp": self.expires,
            "kubernetes.io": private,
        })
    }

    /// Reads what a token of ours says; `None` when it is no such token.
    fn from_json(claims: &Value) -> Option<Self> {
        let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
        let read = if text(claims, "iss")? == LEGACY_ISSUER {
            let part = |name: &str| text(claims, &format!("kubernetes.io/serviceaccount/{name}"));
            Self {
                cluster: part("clusterName")?,
                namespace: part("namespace")?,
                account: Bound {
                    name: part("service-account.name")?,
                    uid: part("service-account.uid")?,
                },
                secret: Some(part("secret.name")?),
                audiences: vec![ISSUER.to_owned()],
                ..Self::default()
            }
        } else {
            let private = claims.get("kubernetes.io")?;
            let named = |value: &Value| {
                Some(Bound {
                    name: text(value, "name")?,
                    uid: text(value, "uid")?,
                })
            };
            let bound = Kind::ALL
                .into_iter()
                .find_map(|kind| Some((kind, private.get(kind.claim())?)));
            let bound = match bound {
                Some((kind, value)) => Some((kind, named(value)?)),
                None => None,
            };
            let audiences = claims.get("aud")?.as_array()?.iter();
            Self {
                cluster: text(private, "clusterName")?,
                namespace: text(private, "namespace")?,
                account: named(private.get("serviceaccount")?)?,
                bound,
                secret: None,
                audiences: audiences
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
                issued: claims.get("nbf")?.as_i64()?,
                expires: claims.get("exp")?.as_i64()?,
                id: text(claims, "jti")?,
            }
        };
        (text(claims, "sub")? == read.subject()).then_some(read)
    }
}

/// The key under all tokens.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

impl Signer {
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            der.secret_pkcs8_der(),
            &random,
        )
        .map_err(|e| e.to_string())?;
        let id = BASE64.encode(Sha256::digest(key.public_key().as_ref()));
        Ok(Self { key, id, random })
    }

    /// A token that says this.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let part = |value: &Value| BASE64.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims.to_json()));
        let signature = self
            .key
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| "a token cannot be signed".to_owned())?;
        Ok(format!("{signed}.{}", BASE64.encode(signature.as_ref())))
    }

    /// What a token says that this key has signed.
    pub(super) fn verify(&self, token: &str) -> Option<Claims> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part: &str| -> Option<Value> {
            serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
        };
        // The algorithm is ours, whatever a token would like it to be.
        if json(header)?.get("alg")? != "ES256" {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        let signature = BASE64.decode(signature).ok()?;
        public.verify(signed.as_bytes(), &signature).ok()?;
        Claims::from_json(&json(claims)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::from_pem(&rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            cluster: "c".into(),
            namespace: "ns".into(),
            account: Bound {
                name: "sa".into(),
                uid: "u".into(),
            },
            bound: Some((
                Kind::Secret,
                Bound {
                    name: "s".into(),
                    uid: "v".into(),
                },
            )),
            secret: None,
            audiences: vec![ISSUER.into(), "other".into()],
            issued: 100,
            expires: 700,
            id: "j".into(),
        }
    }

    #[test]
    fn tokens_say_what_was_signed_and_nothing_else() {
        let signer = signer();
        let legacy = Claims {
            secret: Some("t".into()),
            bound: None,
            audiences: vec![ISSUER.into()],
            issued: 0,
            expires: 0,
            id: String::new(),
            ..claims()
        };
        for said in [claims(), legacy] {
            let token = signer.sign(&said).unwrap();
            assert_eq!(signer.verify(&token), Some(said));
        }
        let token = signer.sign(&claims()).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let none = BASE64.encode(r#"{"alg":"none"}"#);
        for wrong in [
            format!("{none}.{rest}"),
            format!("{head}.{}.", rest.split_once('.').unwrap().0),
            token[..token.len() - 2].to_owned(),
            token.replacen('.', "..", 1),
            String::new(),
            "a.b".to_owned(),
        ] {
            assert_eq!(signer.verify(&wrong), None, "{wrong}");
        }
        assert_eq!(self::signer().verify(&token), None, "of another key");
    }

    #[test]
    fn a_token_holds_from_its_issue_to_its_end() {
        for (second, holds) in [(89, false), (90, true), (699, true), (700, false)] {
            assert_eq!(
                claims().holds_at(Timestamp(second * 1000)),
                holds,
                "{second}"
            );
        }
    }
}
