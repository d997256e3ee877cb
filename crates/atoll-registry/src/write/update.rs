//! Update: a whole object (or subresource) in place of what is there.

use atoll_kube::{Status, definition::Verb};

use super::{
    attempt::Flow,
    body,
    create::{self, Draft},
    modify::{self, Changed, Proposal},
    part::Part,
    scale, strategy,
};
use crate::{Answer, Body, Call, Registry, WriteOptions, read::target::name_of};

pub(crate) async fn update(
    registry: &Registry,
    call: &Call,
    body: Body,
    options: &WriteOptions,
) -> Result<Answer, Status> {
    let flow = Flow::new(registry, call, options)?;
    if call.resource.subresource.as_deref() == Some("scale") {
        return scale::update(&flow, body).await;
    }
    let part = Part::of(call.resource.subresource.as_deref())?;
    let name = name_of(call)?;
    let served = flow.begin(Verb::Update)?.target.served;
    let decoded = body::object(body, &served)?;
    let changed = modify::modify(&flow, Verb::Update, part, |_, _| {
        Ok(Proposal {
            value: decoded.value.clone(),
            faults: decoded.faults.clone(),
            recorded: false,
        })
    });
    match changed.await? {
        Changed::Answer(answer) => Ok(answer),
        Changed::Missing(attempt)
            if part == Part::Main && strategy::creates_on_update(&served.definition) =>
        {
            create::insert(
                &flow,
                Verb::Update,
                *attempt,
                &Draft {
                    decoded,
                    recorded: false,
                },
            )
            .await
        }
        Changed::Missing(_) => Err(Status::not_found(&served.definition.group_resource(), name)),
    }
}
