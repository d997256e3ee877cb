//! The authorizer that expressions ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_cel::{Answer, Question};
use atoll_kube::UserInfo;

use super::request::Request;
use crate::{Attributes, Authorizer, Clusters, Decision};

/// The extra field that says which logical cluster a service account is of.
const HOME: &str = "authentication.kcp.io/cluster-name";

/// Asks for the user of a request, and for service accounts of its logical cluster. Without an authorizer (a server that
/// knows none) everything is allowed, as it is to requests there.
pub(super) struct Door {
    authorizer: Option<Arc<dyn Authorizer>>,
    user: Arc<UserInfo>,
    clusters: Clusters,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

impl Door {
    pub(super) fn of(request: &Request<'_>) -> Arc<dyn atoll_cel::Authorizer> {
        Arc::new(Self {
            authorizer: request.registry.inner.authorizer.clone(),
            user: request.call.user.clone(),
            clusters: request.call.clusters.clone(),
        })
    }

    fn account(&self, namespace: &str, name: &str) -> UserInfo {
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        let home = self.clusters.one().map(|c| c.as_str().to_owned());
        UserInfo {
            username: format!("system:serviceaccount:{namespace}:{name}"),
            groups: groups.into(),
            extra: home
                .map(|home| (HOME.to_owned(), vec![home]))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            ..UserInfo::default()
        }
    }
}

impl atoll_cel::Authorizer for Door {
    fn check(&self, question: &Question) -> Answer {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let Some(authorizer) = &self.authorizer else {
            return Answer {
                allowed: true,
                ..Answer::default()
            };
        };
        let user = match &question.service_account {
            Some((namespace, name)) => Arc::new(self.account(namespace, name)),
            None => self.user.clone(),
        };
        let decision = authorizer.authorize(&Attributes {
            user,
            verb: question.verb.clone(),
            clusters: self.clusters.clone(),
            group: question.group.clone(),
            version: "*".to_owned(),
            resource: question.resource.clone(),
            subresource: given(&question.subresource),
            namespace: given(&question.namespace),
            name: given(&question.name),
            path: question.path.clone(),
        });
        match decision {
            Decision::Allow => Answer {
                allowed: true,
                ..Answer::default()
            },
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Answer {
                reason,
                ..Answer::default()
            },
        }
    }
}
