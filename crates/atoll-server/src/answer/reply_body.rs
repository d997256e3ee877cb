//! The body of an answer: bytes, pieces made as the client takes them, or an agent's stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};

use super::gzip;

/// Any error at all; it ends the stream it comes from.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// The body of a [`super::Reply`].
pub(crate) struct ReplyBody(Kind);

enum Kind {
    Whole(Bytes),
    Pieces { pieces: Pieces, compressible: bool },
    Agent(tonic::body::Body),
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }
}

impl From<tonic::body::Body> for ReplyBody {
    fn from(body: tonic::body::Body) -> Self {
        Self(Kind::Agent(body))
    }
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Whole(_) => "ReplyBody::Whole",
            Kind::Pieces { .. } => "ReplyBody::Pieces",
            Kind::Agent(_) => "ReplyBody::Agent",
        })
    }
}

impl ReplyBody {
    /// A large answer, made piece by piece.
    pub(crate) fn pieces(
        pieces: impl Iterator<Item = Result<Bytes, BoxError>> + Send + 'static,
    ) -> Self {
        Self(Kind::Pieces {
            pieces: Box::pin(futures::stream::iter(pieces)),
            compressible: true,
        })
    }

    /// A watch: pieces that come when something happens. Never compressed.
    pub(crate) fn stream(
        pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    ) -> Self {
        Self(Kind::Pieces {
            pieces: Box::pin(pieces),
            compressible: false,
        })
    }

    /// Compresses what is large enough; whether it did.
    pub(super) fn compress(&mut self) -> bool {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.len() >= gzip::WORTHWHILE => {
                *bytes = gzip::compress(bytes);
                true
            }
            Kind::Pieces {
                pieces,
                compressible,
            } if *compressible => {
                let plain = std::mem::replace(pieces, Box::pin(futures::stream::empty()));
                *pieces = Box::pin(gzip::Compressed::new(plain));
                *compressible = false;
                true
            }
            _ => false,
        }
    }

    /// Drops the content, for HEAD.
    pub(crate) fn clear(&mut self) {
        self.0 = Kind::Whole(Bytes::new());
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Pieces { pieces, .. } => pieces
                .as_mut()
                .poll_next(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Kind::Agent(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Pieces { .. } => false,
            Kind::Agent(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Pieces { .. } => SizeHint::default(),
            Kind::Agent(body) => body.size_hint(),
        }
    }
}
