//! Hearing an agent beside everything else that its session does, so that silence is noticed even while the session waits to be heard itself.
//!
//! A connection that died without a word shows in two ways: nothing comes any more, and what is sent piles up. The session may be stuck in the second; listening is not.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use atoll_wire::ToCenter;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// How many messages wait for a session that is busy.
const INBOX: usize = 256;
/// How many kilobytes of them, those included that it is at.
const INBOX_KILOBYTES: usize = 512;

/// A message, and the room that it takes until it is dropped.
pub(super) struct Heard {
    pub(super) message: ToCenter,
    room: OwnedSemaphorePermit,
}

impl Heard {
    /// Apart, so that the room is kept while the message is acted upon.
    pub(super) fn into_parts(self) -> (ToCenter, OwnedSemaphorePermit) {
        (self.message, self.room)
    }
}

/// What a session is told through: bounded, so that an agent that says more than is taken is slowed down.
pub(super) struct Inbox {
    messages: mpsc::Sender<Heard>,
    room: Arc<Semaphore>,
}

impl Inbox {
    /// An inbox, and where its messages come out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Heard>) {
        Self::of(INBOX)
    }

    fn of(messages: usize) -> (Self, mpsc::Receiver<Heard>) {
        let (messages, said) = mpsc::channel(messages);
        let room = Arc::new(Semaphore::new(INBOX_KILOBYTES));
        (Inbox { messages, room }, said)
    }

    async fn put(&self, message: ToCenter) -> Result<(), ()> {
        let kilobytes = (message.encoded_len() / 1024 + 1).min(INBOX_KILOBYTES);
        let room = self.room.clone().acquire_many_owned(kilobytes as u32);
        let room = room.await.map_err(drop)?;
        let heard = Heard { message, room };
        self.messages.send(heard).await.map_err(drop)
    }
}

/// Hands on what the agent says. Returns when it has been silent for too long, or when nobody took its words for as long; a stream that ends closes the
/// inbox, and the session ends by itself after what was said.
pub(super) async fn listen<S>(inbound: &mut S, inbox: Inbox, limit: Duration)
where
    S: Stream<Item = Result<ToCenter, Status>> + Unpin,
{
    loop {
        match tokio::time::timeout(limit, inbound.next()).await {
            Ok(Some(Ok(message))) => match tokio::time::timeout(limit, inbox.put(message)).await {
                Ok(Ok(())) => {}
                _ => return,
            },
            Ok(_) => break,
            Err(_) => return,
        }
    }
    drop(inbox);
    pending().await
}

#[cfg(test)]
mod tests {
    use atoll_wire::Ping;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(5);

    fn ping() -> Result<ToCenter, Status> {
        Ok(ToCenter::new("", Ping {}))
    }

    #[tokio::test]
    async fn silence_is_noticed_though_nobody_reads() {
        let (to, inbound) = mpsc::channel(4);
        let (inbox, _unread) = Inbox::of(1);
        let mut inbound = ReceiverStream::new(inbound);
        to.send(ping()).await.unwrap();
        listen(&mut inbound, inbox, LIMIT).await;
        drop(to);
    }

    #[tokio::test]
    async fn a_session_that_takes_nothing_ends_too() {
        let (to, inbound) = mpsc::channel(4);
        let (inbox, _unread) = Inbox::of(1);
        let mut inbound = ReceiverStream::new(inbound);
        for _ in 0..3 {
            to.send(ping()).await.unwrap();
        }
        listen(&mut inbound, inbox, LIMIT).await;
    }

    #[tokio::test]
    async fn an_ended_stream_ends_the_session_after_its_last_word() {
        let (to, inbound) = mpsc::channel(4);
        let (inbox, mut said) = Inbox::of(4);
        let mut inbound = ReceiverStream::new(inbound);
        to.send(ping()).await.unwrap();
        drop(to);
        tokio::select! {
            () = listen(&mut inbound, inbox, LIMIT) => panic!("the session decides when it ends"),
            heard = async { (said.recv().await, said.recv().await) } => assert!(heard.0.is_some() && heard.1.is_none()),
        }
    }

    #[tokio::test]
    async fn large_messages_wait_until_those_before_are_done_with() {
        let (inbox, mut said) = Inbox::new();
        let large = || {
            let status = vec![0; 400 << 10].into();
            let copy = atoll_wire::CopyReport {
                status,
                ..Default::default()
            };
            let report = atoll_wire::Report {
                copies: vec![copy],
                ..Default::default()
            };
            ToCenter::new("", report)
        };
        inbox.put(large()).await.unwrap();
        let mut second = Box::pin(inbox.put(large()));
        assert!(tokio::time::timeout(LIMIT, &mut second).await.is_err());
        let (_, room) = said.recv().await.unwrap().into_parts();
        assert!(tokio::time::timeout(LIMIT, &mut second).await.is_err());
        drop(room);
        second.await.unwrap();
    }
}
