//! `/services/<name>/<place>/<question>`: questions that are answered with a document, not with Kubernetes objects.
//!
//! An [`Answers`] says what one has to be allowed in order to ask, and answers; who asks, bodies and forms are the server's, the same as everywhere.

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::ids::UserInfo;
use atoll_kube::status::Status;
use atoll_registry::Attributes;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::answer::{self, Reply};
use crate::front::{Front, Seen};
use crate::request::{Accept, ContentType, Query, content_type, read_body};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where: the segment after the service's name, a workspace's path as a rule.
    pub place: String,
    /// What: the segment after that.
    pub what: String,
    /// The parameters of the URL; of one that is given twice, the first.
    pub parameters: Vec<(String, String)>,
    /// What was posted; `None` for a GET.
    pub body: Option<Value>,
}

impl Question {
    /// A parameter that says something.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }
}

/// Answers questions under `/services/<name>/`.
#[async_trait]
pub trait Answers: Send + Sync {
    /// The segment after `/services/`.
    fn name(&self) -> &'static str;

    /// What a user has to be allowed in order to ask at all. The user may yet be replaced by one acted as.
    fn attributes(&self, question: &Question, user: Arc<UserInfo>) -> Result<Attributes, Status>;

    /// The answer. What else this user may learn is the answerer's to find out.
    async fn answer(&self, question: &Question, user: Arc<UserInfo>) -> Result<Value, Status>;
}

impl Front {
    /// Answers a question.
    pub(crate) async fn question<B>(
        &self,
        (answers, rest): (&dyn Answers, &[String]),
        request: (&http::request::Parts, B),
        user: Arc<UserInfo>,
        accept: &Accept,
        query: &Query,
        seen: &mut Seen,
    ) -> Result<Reply, Status>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let (parts, body) = request;
        let [place, what] = rest else {
            return Err(Status::no_such_path());
        };
        let body = match parts.method {
            Method::GET | Method::HEAD => None,
            Method::POST => {
                let kind = content_type(&parts.headers)?;
                let bytes = read_body(&parts.headers, body).await?;
                let value = match kind {
                    ContentType::Yaml => atoll_kube::yaml::to_json(&bytes)
                        .map_err(|error| Status::bad_request(error.to_string()))?,
                    ContentType::Json => serde_json::from_slice(&bytes)
                        .map_err(|error| Status::bad_request(error.to_string()))?,
                    ContentType::Protobuf => {
                        return Err(Status::unsupported_media_type(&["application/json"]));
                    }
                };
                Some(value)
            }
            _ => return Err(Status::method_not_allowed()),
        };
        seen.note(if body.is_some() { "create" } else { "get" }, None);
        let question = Question {
            place: place.clone(),
            what: what.clone(),
            parameters: query.pairs().to_vec(),
            body,
        };
        let mut attributes = answers.attributes(&question, user.clone())?;
        attributes.user = self.impersonate(&parts.headers, user, &attributes.clusters)?;
        self.authorize(&attributes)?;
        let value = answers.answer(&question, attributes.user).await?;
        answer::value(StatusCode::OK, accept.plain()?, &value)
    }
}
