//! The agent protocol: what a center and an edge say to each other, and nothing else.
//!
//! Always true here: the edge opens the connection, every message of a session names the destination it is about
//! (so that one stream can carry many, as a hub's will), and an edge deletes only what a [`Tombstone`] names.
//! This crate knows no store, no Kubernetes client and no policy; it holds messages, the gRPC service around them,
//! the join file, and the two hashes both sides must compute alike.
//!
//! # The whole conversation
//!
//! **Enrolment** (server-authenticated TLS, no client certificate). A person made a `ManagedCluster` and a
//! [`join::JoinFile`]. The agent makes a key that never leaves the edge and calls `Enrol` with the join token and a
//! signing request. The center binds the token to the *first* public key it sees: the same key may retry until the
//! token expires (the answer may have been lost), another key is refused. The answer is a short-lived client certificate
//! whose subject names the destination (see [`identity`]) and when to renew it.
//!
//! **Renewal** (mutual TLS). `Renew` at [`Certificates::renew_after_unix`]. An expired certificate opens this one call and no other, as
//! long as the same ManagedCluster exists and is accepted. The key may change with a renewal.
//!
//! **Session** (mutual TLS, one bidirectional stream).
//!
//! ```text
//!  agent                                                     center
//!  Hello{cursor, digest, versions}              ─────▶        is the cursor one of my log's? is the digest what I computed?
//!                                               ◀─────        Welcome{identity, resumption}
//!  (only when asked: digests differ)            ◀─────        List{}
//!  Holding{copy, render hash …} last=true       ─────▶        the difference, and orphans: copies the center never heard of
//!                                               ◀─────        Desired{items: identity, order, flags, hashes; cursor}
//!  Need{body hashes}                            ─────▶        refused unless an item of this destination names the hash
//!                                               ◀─────        Bodies{hash, bytes}
//!  Progress{cursor, digest}                     ─────▶        "all up to here is durably recorded at the edge"
//!  Report{seq, copies: hash, error, status}     ─────▶        appended to the log, then
//!                                               ◀─────        ReportAck{seq}
//!                                               ◀─────        Tombstone{copy, object, Remove | Orphan}
//!  TombstoneDone{copy, outcome}                 ─────▶        bit cleared durably, then
//!                                               ◀─────        Released{copies}: the edge may forget its record
//!                                               ◀─────        FetchStatus{request, copy}
//!  RawStatus{request, status}                   ─────▶
//!                                               ◀─────        Gather{clauses}: which objects born at the edge are to be told of
//!  Born{objects}                                ─────▶        kept; what is sent again after a reconnect is compared
//!  Ping                          every 40 s     ─────▶
//!                                               ◀─────        Pong
//! ```
//!
//! Rules for the agent:
//! - An item of [`Desired`] is an upsert. It counts as recorded when its body is held and both are on disk; only then may a
//!   [`Progress`] cover its cursor. What an item does not mention stays as it is.
//! - [`SetDigest`](digest::SetDigest) is over what is *recorded*, applied or not, tombstoned copies excluded from the moment the tombstone is
//!   recorded. Equal digests mean that nothing needs to be sent, so a reconnect of an edge that is current costs two messages.
//! - Reports are cumulative per copy: the newest replaces the older ones. Unacknowledged reports are sent again after a
//!   reconnect; an agent that restarted reports every copy once ([`Report::complete`]). An agent that
//!   cannot reach its edge's API server sends an error report; it never invents a status.
//! - Between [`Welcome`] with [`Resumption::Held`] and [`Resumed`] the agent keeps everything: the center lost a part of its past (it was restored from a backup). It may receive
//!   items for copies it does not hold, and nothing else; a [`Desired`] without a cursor completes nothing and leaves the agent's cursor as it is.
//! - Refused as [`RefusedReason::Unknown`], the agent is detached: what runs at the edge stays as it is and is neither changed nor healed any more, also after a restart,
//!   until a [`Welcome`].
//! - A destination that was registered anew at the same edge takes a copy over from its predecessor when the center says that the predecessor is gone
//!   ([`Welcome::gone`]), when the predecessor's record names the very object, and when it is a copy of the same payload object. A copy's identity holds the
//!   object's uid, so that another center's records never fit.
//!
//! # Hubs
//!
//! A stream may carry many destinations: its own, and each ManagedCluster of the same inventory that names the stream's ManagedCluster in the annotation
//! [`HUB_ANNOTATION`]. The hub opens each with a [`Hello`] in an envelope that has the destination's uid and one handle, a number of its choice; from then on
//! both sides use handles, and one message may be for many of them. A destination that the hub does not speak for (any more) is [`Refused`] alone, and
//! the stream goes on; [`Leave`] says that the hub lost one. A hub may keep a body for all of its destinations and asks for it once, in the name of any that should have it.
//! An item may bring its body along.
//!
//! Liveness: the agent sends [`Ping`] every [`PING_EVERY`] while the stream is otherwise quiet; either side that has heard nothing for [`SILENCE_LIMIT`] drops the
//! connection. One ping and its answer are about 80 bytes of TLS records each 40 s: 2 B/s, and no HTTP/2 keepalive is needed beside it.

pub mod digest;
pub mod identity;
pub mod join;
mod messages;
pub mod service;

pub use messages::*;
pub use service::{Agent, AgentClient, AgentServer};

use std::time::Duration;

/// On a ManagedCluster: the name of the ManagedCluster (of the same inventory) whose stream may carry it.
pub const HUB_ANNOTATION: &str = "edge.atoll.dev/hub";

/// How long a quiet stream waits before the agent sends a [`Ping`].
pub const PING_EVERY: Duration = Duration::from_secs(40);

/// How long either side hears nothing before it takes the connection for dead (two pings were lost).
pub const SILENCE_LIMIT: Duration = Duration::from_secs(85);

/// The largest message either side sends; bodies larger than this are refused at the center.
pub const MAX_MESSAGE: usize = 8 * 1024 * 1024;

/// How many bytes of bodies are put in one [`Bodies`] message before another is started.
pub const BODIES_PER_MESSAGE: usize = 512 * 1024;
