//! The stream of a hub.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use atoll_agent::uplink::{Identity, Uplink};
use atoll_wire::{AgentClient, PING_EVERY, Ping, ToAgent, ToCenter};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{OUTBOX, Shared};

/// Pause before a stream that broke is opened again.
const AGAIN: Duration = Duration::from_millis(300);

/// Keeps a hub connected until it is dropped.
pub(crate) async fn run(hub: Shared, uplink: Arc<Uplink>, identity: Arc<Identity>) {
    let wake = hub.lock().wake.clone();
    loop {
        while !hub.lock().wants_a_stream() {
            wake.notified().await;
        }
        let ended = session(&hub, &wake, &uplink, &identity).await;
        hub.lock().disconnected();
        if !hub.lock().wants_a_stream() {
            continue;
        }
        if let Err(error) = ended {
            tracing::debug!(hub = %hub.lock().name, %error, "the stream broke");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn session(
    hub: &Shared,
    wake: &Notify,
    uplink: &Uplink,
    identity: &Identity,
) -> anyhow::Result<()> {
    let (up, messages) = mpsc::channel(OUTBOX);
    let mut client = AgentClient::new(uplink.channel(Some(identity)).await?);
    up.send(ToCenter::new("", Ping {}))
        .await
        .context("the stream is closed")?;
    let mut down = client
        .session(ReceiverStream::new(messages))
        .await?
        .into_inner();
    hub.lock().connected();
    let mut ping = tokio::time::interval(PING_EVERY);
    loop {
        // What is to be said goes out first; the center reads on meanwhile, so neither side can wait for the other for ever.
        let said = hub.lock().next_messages();
        let sending = async {
            for message in said {
                if up.send(message).await.is_err() {
                    bail!("the stream is closed");
                }
            }
            Ok(())
        };
        tokio::pin!(sending);
        let mut sent = false;
        loop {
            tokio::select! {
                outcome = &mut sending, if !sent => {
                    outcome?;
                    sent = true;
                }
                message = down.message() => {
                    let Some(ToAgent { message, handles, .. }) = message? else { return Ok(()) };
                    if let Some(message) = message {
                        hub.lock().hear(handles, message);
                    }
                }
                // Behind everything else: whoever waits here to be heard hears nothing.
                _ = ping.tick() => hub.lock().backlog.push(ToCenter::new("", Ping {})),
                () = wake.notified() => {}
            }
            if !hub.lock().wants_a_stream() {
                return Ok(());
            }
            if sent && hub.lock().has_to_say() {
                break;
            }
        }
    }
}
