//! Hearing an agent beside everything else that its session does, so that silence is noticed even while the session waits to be heard itself.
//!
//! A connection that died without a word shows in two ways: nothing comes any more, and what is sent piles up. The session may be stuck in the second; listening is not.

use std::future::pending;
use std::time::Duration;

use atoll_wire::ToCenter;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// How many messages wait for a session that is busy.
pub(super) const INBOX: usize = 256;

/// Hands on what the agent says. Returns when it has been silent for too long, or when nobody took its words for as long; a stream that ends closes the
/// inbox, and the session ends by itself after what was said.
pub(super) async fn listen<S>(inbound: &mut S, inbox: mpsc::Sender<ToCenter>, limit: Duration)
where
    S: Stream<Item = Result<ToCenter, Status>> + Unpin,
{
    loop {
        match tokio::time::timeout(limit, inbound.next()).await {
            Ok(Some(Ok(message))) => match inbox.send_timeout(message, limit).await {
                Ok(()) => {}
                Err(_) => return,
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
        let (inbox, _unread) = mpsc::channel(1);
        let mut inbound = ReceiverStream::new(inbound);
        to.send(ping()).await.unwrap();
        listen(&mut inbound, inbox, LIMIT).await;
        drop(to);
    }

    #[tokio::test]
    async fn a_session_that_takes_nothing_ends_too() {
        let (to, inbound) = mpsc::channel(4);
        let (inbox, _unread) = mpsc::channel(1);
        let mut inbound = ReceiverStream::new(inbound);
        for _ in 0..3 {
            to.send(ping()).await.unwrap();
        }
        listen(&mut inbound, inbox, LIMIT).await;
    }

    #[tokio::test]
    async fn an_ended_stream_ends_the_session_after_its_last_word() {
        let (to, inbound) = mpsc::channel(4);
        let (inbox, mut said) = mpsc::channel(4);
        let mut inbound = ReceiverStream::new(inbound);
        to.send(ping()).await.unwrap();
        drop(to);
        tokio::select! {
            () = listen(&mut inbound, inbox, LIMIT) => panic!("the session decides when it ends"),
            heard = async { (said.recv().await, said.recv().await) } => assert!(heard.0.is_some() && heard.1.is_none()),
        }
    }
}
