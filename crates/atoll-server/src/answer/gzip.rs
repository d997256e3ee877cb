//! Compression of large answers, at the fastest level: every client-go asks for it, so it has to be cheap.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::Stream;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::BoxError;

/// Answers below this size are sent as they are; Kubernetes' own threshold.
pub(super) const WORTHWHILE: usize = 128 * 1024;

/// Whether the client accepts gzip.
pub(crate) fn wants_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split(',').any(|part| {
                let mut pieces = part.split(';').map(str::trim);
                pieces.next() == Some("gzip") && !pieces.any(|piece| piece == "q=0")
            })
        })
}

pub(super) fn compress(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    match encoder.write_all(plain).and_then(|()| encoder.finish()) {
        Ok(packed) => packed.into(),
        // Writing to memory does not fail; were it to, the client would see a broken stream rather than a wrong one.
        Err(_) => Bytes::new(),
    }
}

/// A stream, compressed piece by piece.
pub(super) struct Compressed<S> {
    plain: S,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<S> Compressed<S> {
    pub(super) fn new(plain: S) -> Self {
        Self {
            plain,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl<S: Stream<Item = Result<Bytes, BoxError>> + Unpin> Stream for Compressed<S> {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(encoder) = this.encoder.as_mut() else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(&mut this.plain).poll_next(cx)) {
                Some(Ok(piece)) => {
                    if let Err(error) = encoder.write_all(&piece) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    if !encoder.get_ref().is_empty() {
                        return Poll::Ready(Some(Ok(std::mem::take(encoder.get_mut()).into())));
                    }
                }
                Some(Err(error)) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let end = this.encoder.take().map(GzEncoder::finish);
                    return Poll::Ready(end.map(|end| end.map(Bytes::from).map_err(Into::into)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use futures::StreamExt;
    use std::io::Read;

    #[tokio::test]
    async fn pieces_come_back_whole() {
        let pieces: Vec<Result<Bytes, BoxError>> = (0..50)
            .map(|n| Ok(Bytes::from(format!("{n} and more ").repeat(1000))))
            .collect();
        let plain: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.as_ref().unwrap().to_vec())
            .collect();
        let packed: Vec<_> = Compressed::new(futures::stream::iter(pieces))
            .collect()
            .await;
        let packed: Vec<u8> = packed
            .into_iter()
            .flat_map(|piece| piece.unwrap().to_vec())
            .collect();
        let mut unpacked = Vec::new();
        GzDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, plain);
        assert!(packed.len() < plain.len() / 10);
    }

    #[test]
    fn gzip_is_asked_for() {
        for (value, expected) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(wants_gzip(&headers), expected, "{value}");
        }
    }
}
