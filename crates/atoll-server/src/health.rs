//! `/livez`, `/readyz`, `/healthz`: named checks, all of them or one.
//!
//! Answered to anybody, without looking at credentials. Why a check fails is logged, not told.

use std::sync::Arc;

use http::StatusCode;

use crate::answer::{self, Reply};
use crate::request::Query;

type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// One named check.
#[derive(Clone)]
pub struct HealthCheck {
    name: &'static str,
    readiness_only: bool,
    probe: Probe,
}

impl HealthCheck {
    /// A check of `/livez`, `/readyz` and `/healthz`. The probe must answer at once.
    pub fn new(
        name: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            readiness_only: false,
            probe: Arc::new(probe),
        }
    }

    /// The same, but of `/readyz` alone: failing it means "not now", not "restart me".
    #[must_use]
    pub fn readiness_only(mut self) -> Self {
        self.readiness_only = true;
        self
    }
}

impl std::fmt::Debug for HealthCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HealthCheck({})", self.name)
    }
}

/// All checks of a server.
#[derive(Debug)]
pub(crate) struct Health(Vec<HealthCheck>);

impl Health {
    pub(crate) fn new(more: Vec<HealthCheck>) -> Self {
        let mut checks = vec![HealthCheck::new("ping", || Ok(()))];
        checks.extend(more);
        Self(checks)
    }

    /// The answer of an endpoint, or of one of its checks.
    pub(crate) fn answer(
        &self,
        endpoint: &'static str,
        only: Option<&str>,
        query: &Query,
    ) -> Reply {
        let mut lines = String::new();
        let mut failed = Vec::new();
        let mut any = false;
        let excluded = query.all("exclude");
        for check in &self.0 {
            if check.readiness_only && endpoint != "readyz"
                || only.is_some_and(|only| only != check.name)
            {
                continue;
            }
            any = true;
            if excluded.contains(&check.name) {
                lines.push_str(&format!("[+]{} excluded: ok\n", check.name));
                continue;
            }
            match (check.probe)() {
                Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name)),
                Err(why) => {
                    tracing::warn!(check = check.name, endpoint, why, "health check fails");
                    lines.push_str(&format!("[-]{} failed: reason withheld\n", check.name));
                    failed.push(check.name);
                }
            }
        }
        if !any {
            return answer::text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        if !failed.is_empty() {
            return answer::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{lines}{endpoint} check failed\n"),
            );
        }
        if only.is_none() && query.flag("verbose") {
            return answer::text(StatusCode::OK, format!("{lines}{endpoint} check passed\n"));
        }
        answer::text(StatusCode::OK, "ok")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn ask(endpoint: &'static str, only: Option<&str>, query: &str) -> (u16, String) {
        let health = Health::new(vec![
            HealthCheck::new("store", || Ok(())),
            HealthCheck::new("bootstrap", || Err("still at it".to_owned())).readiness_only(),
        ]);
        let reply = health.answer(endpoint, only, &Query::parse(Some(query)).unwrap());
        let code = reply.status().as_u16();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn checks() {
        assert_eq!(ask("livez", None, "").await, (200, "ok".to_owned()));
        let verbose = "[+]ping ok\n[+]store ok\nlivez check passed\n";
        assert_eq!(
            ask("livez", None, "verbose").await,
            (200, verbose.to_owned())
        );
        let (code, body) = ask("readyz", None, "").await;
        assert_eq!(code, 500);
        assert!(
            body.contains("[-]bootstrap failed: reason withheld") && !body.contains("still at it")
        );
        assert_eq!(ask("readyz", None, "exclude=bootstrap").await.0, 200);
        assert_eq!(ask("readyz", Some("ping"), "").await.0, 200);
        assert_eq!(ask("readyz", Some("bootstrap"), "").await.0, 500);
        assert_eq!(ask("livez", Some("bootstrap"), "").await.0, 404);
    }
}
