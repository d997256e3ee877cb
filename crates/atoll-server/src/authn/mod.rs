//! Who a request comes from: a client certificate, a bearer token, or nobody.
//!
//! [`Authenticator::authenticate`] answers with a user, with [`Identity::Anonymous`] when the request carries no
//! credentials at all, and with 401 when it carries ones that do not hold. It never falls back from bad credentials to
//! anonymity. Every authenticated user is in `system:authenticated`.

mod certificates;
pub mod impersonation;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::ids::UserInfo;
use atoll_kube::status::Status;
use http::HeaderMap;
use http::header::AUTHORIZATION;

pub use certificates::{ClientAuthority, PeerIdentity};
pub use tokens::{TokenFileError, Tokens};

/// The group of everybody whose identity is known.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";

/// Authentication's answer.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Somebody known.
    User(Arc<UserInfo>),
    /// No credentials were given.
    Anonymous,
}

/// Further ways to recognise a bearer token, such as service account tokens.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync {
    /// The token's user; `None` when the token is not of this authenticator's making, or no longer holds.
    async fn user(&self, token: &str) -> Option<UserInfo>;
}

/// Everything the server accepts as proof of identity.
pub struct Authenticator {
    tokens: Tokens,
    more: Vec<Arc<dyn TokenAuthenticator>>,
}

impl Authenticator {
    /// Accepts these tokens, and whatever `more` recognises.
    pub fn new(tokens: Tokens, more: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        Self { tokens, more }
    }

    /// Finds out who is asking. `peer` is what the connection's client certificate proved, if anything.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
    ) -> Result<Identity, Status> {
        if let Some(user) = peer.and_then(PeerIdentity::user_now) {
            return Ok(Identity::User(user));
        }
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Ok(Identity::Anonymous);
        };
        let token = value
            .to_str()
            .ok()
            .and_then(bearer)
            .ok_or_else(Status::unauthorized)?;
        if let Some(user) = self.tokens.user(token) {
            return Ok(Identity::User(user));
        }
        for authenticator in &self.more {
            if let Some(user) = authenticator.user(token).await {
                return Ok(Identity::User(Arc::new(authenticated(user))));
            }
        }
        Err(Status::unauthorized())
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The user, in the group of all authenticated users.
fn authenticated(mut user: UserInfo) -> UserInfo {
    if !user.is_in(AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    async fn name(headers: HeaderMap) -> Result<String, u16> {
        let mut tokens = Tokens::default();
        tokens.add("t0ken", UserInfo::new("ann", ["devs"]));
        match Authenticator::new(tokens, Vec::new())
            .authenticate(&headers, None)
            .await
        {
            Ok(Identity::User(user)) => Ok(format!("{}:{}", user.username, user.groups.join(","))),
            Ok(Identity::Anonymous) => Ok("nobody".to_owned()),
            Err(status) => Err(status.code),
        }
    }

    #[tokio::test]
    async fn bad_credentials_never_become_anonymous() {
        assert_eq!(name(HeaderMap::new()).await, Ok("nobody".to_owned()));
        let ann = Ok("ann:devs,system:authenticated".to_owned());
        assert_eq!(name(header("Bearer t0ken")).await, ann);
        assert_eq!(name(header("bearer  t0ken")).await, ann);
        for bad in ["Bearer other", "Bearer ", "Basic dDBrZW4=", "t0ken"] {
            assert_eq!(name(header(bad)).await, Err(401), "{bad}");
        }
    }
}
