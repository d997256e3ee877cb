//! Resources: from a path and a method to a call of the registry, and from its answer to a reply.
//!
//! One function per verb. What a kind does is none of this module's business.

use atoll_kube::ids::GroupResource;
use atoll_kube::status::Status;
use atoll_registry::{
    Answer, Attributes, Body, Call, Outcome, PatchType, Propagation, ResourceRef, WatchOptions,
};
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::answer::objects::{self, Overlay, Show};
use crate::answer::{self, Reply, watch};
use crate::front::{Context, Front};
use crate::request::{ContentType, ResourcePath, content_type, patch_type, read_body};

impl Front {
    /// Whether the user may do this. Kubernetes' rules for what the attributes are.
    pub(crate) fn authorize_resource(
        &self,
        context: &Context<'_>,
        path: &ResourcePath,
        verb: &str,
    ) -> Result<(), Status> {
        // A request about a Namespace itself counts as one in that namespace.
        let own_namespace =
            path.resource.group.is_empty() && path.resource.resource == "namespaces";
        let namespace = if own_namespace {
            path.name.clone()
        } else {
            path.namespace.clone()
        };
        let name = path.name.clone().or_else(|| {
            let fields = context
                .query
                .get("fieldSelector")
                .filter(|_| matches!(verb, "list" | "watch"))?;
            fields
                .split(',')
                .find_map(|field| field.strip_prefix("metadata.name="))
                .map(|name| name.trim_start_matches('=').to_owned())
        });
        self.authorize(&Attributes {
            user: context.user.clone(),
            verb: verb.to_owned(),
            clusters: context.clusters.clone(),
            group: path.resource.group.clone(),
            version: path.resource.version.clone(),
            resource: path.resource.resource.clone(),
            subresource: path.resource.subresource.clone(),
            namespace,
            name,
            path: None,
        })
    }

    /// Does what was asked for.
    pub(crate) async fn resource<B>(
        &self,
        context: &Context<'_>,
        path: &ResourcePath,
        verb: &'static str,
        body: B,
    ) -> Result<Reply, Status>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        if context.clusters.one().is_none() && !matches!(verb, "list" | "watch") {
            let mut status = Status::method_not_allowed();
            status.message = format!("{} in the `*` logical cluster", status.message).into();
            return Err(status);
        }
        // Negotiated first, so that nothing is written whose answer could not be sent.
        let show = self.show(context, Some(&path.resource))?;
        let call = self.call(context, path);
        match verb {
            "get" => self.get(context, &call, &show).await,
            "list" => objects::list(
                self.registry
                    .list(&call, &context.query.list_options()?)
                    .await?,
                &show,
            ),
            "watch" => {
                let options = context.query.watch_options()?;
                self.watch(&call, options, show, context.query.timeout_seconds()?)
                    .await
            }
            "create" => {
                let options = context.query.write_options("CreateOptions")?;
                let body = self.object(context, body).await?;
                written(self.registry.create(&call, body, &options).await?, &show)
            }
            "update" => {
                let options = context.query.write_options("UpdateOptions")?;
                let body = self.object(context, body).await?;
                written(self.registry.update(&call, body, &options).await?, &show)
            }
            "patch" => self.patch(context, &call, body, &show).await,
            "delete" => {
                let options = context
                    .query
                    .delete_options(&read_json(context, body).await?)?;
                let answer = self.registry.delete(&call, &options).await?;
                deleted(answer, options.propagation, &show)
            }
            "deletecollection" => {
                let options = context
                    .query
                    .delete_options(&read_json(context, body).await?)?;
                let selection = context.query.list_options()?;
                let answer = self
                    .registry
                    .delete_collection(&call, &selection, &options)
                    .await?;
                deleted(answer, options.propagation, &show)
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// The form of the answer. `resource` is what it holds, if it holds stored objects.
    pub(crate) fn show(
        &self,
        context: &Context<'_>,
        resource: Option<&ResourceRef>,
    ) -> Result<Show, Status> {
        let (encoding, form) = context.accept.resource()?;
        let include = objects::include_object(context.query.get("includeObject"))?;
        Ok(Show {
            encoding,
            form,
            include,
            now: self.registry.now(),
            overlay: resource.and_then(|resource| self.overlay(resource)),
        })
    }

    fn overlay(&self, resource: &ResourceRef) -> Option<Overlay> {
        let mine = |about: &GroupResource| {
            about.group == resource.group && about.resource == resource.resource
        };
        self.overlays
            .iter()
            .find(|(about, _)| mine(about))
            .map(|(_, overlay)| overlay.clone())
    }

    pub(crate) fn call(&self, context: &Context<'_>, path: &ResourcePath) -> Call {
        Call {
            user: context.user.clone(),
            user_agent: context.user_agent(),
            clusters: context.clusters.clone(),
            resource: path.resource.clone(),
            namespace: path.namespace.clone(),
            name: path.name.clone(),
            now: self.registry.now(),
        }
    }

    async fn get(&self, context: &Context<'_>, call: &Call, show: &Show) -> Result<Reply, Status> {
        let options = context.query.get_options();
        if call.resource.subresource.as_deref() == Some("scale") {
            let scale = self.registry.get_scale(call, &options).await?;
            return objects::value(StatusCode::OK, &scale, show);
        }
        objects::object(
            StatusCode::OK,
            &self.registry.get(call, &options).await?,
            show,
        )
    }

    async fn watch(
        &self,
        call: &Call,
        options: WatchOptions,
        show: Show,
        timeout_seconds: Option<u64>,
    ) -> Result<Reply, Status> {
        let running = self.metrics.watch();
        let stream = self.registry.watch(call, &options).await?;
        Ok(watch::reply(
            stream,
            show,
            timeout_seconds,
            self.draining.clone(),
            running,
        ))
    }

    async fn object<B>(&self, context: &Context<'_>, body: B) -> Result<Body, Status>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let kind = content_type(context.headers)?;
        let bytes = read_body(context.headers, body).await?;
        Ok(match kind {
            ContentType::Json => Body::Json(bytes),
            ContentType::Yaml => Body::Yaml(bytes),
            ContentType::Protobuf => Body::Value(decode_protobuf(&bytes)?),
        })
    }

    async fn patch<B>(
        &self,
        context: &Context<'_>,
        call: &Call,
        body: B,
        show: &Show,
    ) -> Result<Reply, Status>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let kind = patch_type(context.headers)?;
        let options = context.query.write_options("PatchOptions")?;
        if options.force && kind != PatchType::Apply {
            return Err(Status::bad_request(
                "force is only for server-side apply (application/apply-patch+yaml)",
            ));
        }
        if kind == PatchType::Apply && options.field_manager.is_none() {
            return Err(Status::bad_request(
                "fieldManager is required for server-side apply",
            ));
        }
        let bytes = read_body(context.headers, body).await?;
        let body = if kind == PatchType::Apply {
            Body::Yaml(bytes)
        } else {
            Body::Json(bytes)
        };
        written(self.registry.patch(call, kind, body, &options).await?, show)
    }
}

/// The body of a delete: none, or JSON.
async fn read_json<B>(context: &Context<'_>, body: B) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let bytes = read_body(context.headers, body).await?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let value = match content_type(context.headers)? {
        ContentType::Json => return Ok(bytes),
        ContentType::Yaml => atoll_kube::yaml::to_json(&bytes)
            .map_err(|error| Status::bad_request(error.to_string()))?,
        ContentType::Protobuf => decode_protobuf(&bytes)?,
    };
    Ok(value.to_string().into())
}

fn decode_protobuf(bytes: &[u8]) -> Result<Value, Status> {
    atoll_kube::protobuf::decode(bytes).map_err(Status::bad_request)
}

fn written(answer: Answer, show: &Show) -> Result<Reply, Status> {
    let code = if answer.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    outcome(answer, code, show)
}

fn deleted(answer: Answer, propagation: Option<Propagation>, show: &Show) -> Result<Reply, Status> {
    // Still there although everything was to go before it: accepted, not done.
    let waiting = propagation == Some(Propagation::Foreground)
        && matches!(answer.outcome, Outcome::Object(_));
    outcome(
        answer,
        if waiting {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        },
        show,
    )
}

fn outcome(answer: Answer, code: StatusCode, show: &Show) -> Result<Reply, Status> {
    let mut reply = match &answer.outcome {
        Outcome::Object(object) => objects::object(code, object, show)?,
        Outcome::Value(value) => objects::value(code, value, show)?,
        Outcome::Status(status) => answer::error(status, show.encoding),
    };
    answer::add_warnings(&mut reply, &answer.warnings);
    Ok(reply)
}
