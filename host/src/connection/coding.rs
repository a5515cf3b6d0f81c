//! How bodies of responses are packed (`Content-Encoding`), and how they are unpacked: in small pieces, each layer within the
//! bound of the whole, so that neither what comes out nor what is in between grows without an end.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::Bytes;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue},
};
use tokio::{io::AsyncBufReadExt as _, task::coop::consume_budget};
use tokio_util::io::{ReaderStream, StreamReader};

/// What servers are asked for where a plugin does not say otherwise.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip");
/// Who packs more often than that has no good reason to. A proxy that packs what is packed already is one layer more.
pub(super) const MAX_LAYERS: usize = 3;
/// Bytes that are unpacked at a time.
const PIECE: usize = 8 << 10;

/// Pieces of a body on its way.
pub type BodyStream = BoxStream<'static, io::Result<Bytes>>;

/// A body, or what it was unpacked to on the way, is too large.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than {0} bytes")]
pub(super) struct TooLarge(u64);

/// The codings that header values name, in the order in which the server used them.
pub(super) fn codings<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let named = values.flat_map(|value| value.split(',')).map(str::trim);
    named
        .filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity"))
        .collect()
}

/// Whether the host unpacks it.
pub(super) fn is_known(coding: &str) -> bool {
    coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")
}

/// How many layers to unpack. `None`: there is one that is not known, or there are too many.
fn layers(headers: &HeaderMap) -> Option<usize> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let codings = codings(values.map(|value| value.to_str().unwrap_or("unreadable")));
    let known = codings.len() <= MAX_LAYERS && codings.iter().all(|one| is_known(one));
    known.then_some(codings.len())
}

/// The headers and the body of a response, with each layer of it no larger than `most`. What is packed in a way that is
/// known comes unpacked, and no header tells of it any more; the rest comes as it is. All headers count: a client that
/// goes by the first one would hand out what is still packed as if it were plain.
pub(super) fn opened(answer: Response, most: u64) -> (HeaderMap, BodyStream) {
    let mut headers = answer.headers().clone();
    let packed = answer.bytes_stream().map_err(io::Error::other);
    let packed = bounded(packed.boxed(), most);
    match layers(&headers) {
        None | Some(0) => (headers, packed),
        Some(layers) => {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
            let body = stream::once(unpacked(packed, layers, most));
            (headers, body.try_flatten().boxed())
        }
    }
}

async fn unpacked(packed: BodyStream, layers: usize, most: u64) -> io::Result<BodyStream> {
    let mut packed = StreamReader::new(packed);
    // To HEAD, with 204 or 304, and by lazy servers nothing is sent, whatever the headers say.
    if packed.fill_buf().await?.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let mut body = unpack(packed, most);
    for _ in 1..layers {
        body = unpack(StreamReader::new(body), most);
    }
    Ok(body)
}

fn unpack(packed: StreamReader<BodyStream, Bytes>, most: u64) -> BodyStream {
    let mut decoder = GzipDecoder::new(packed);
    // A body may consist of several, as a file may.
    decoder.multiple_members(true);
    bounded(ReaderStream::with_capacity(decoder, PIECE).boxed(), most)
}

/// The same pieces until they are too many. Others get their turn in between: a piece of one layer may be a thousand of the
/// next one, and a thousand of one layer may be nothing in the next one.
fn bounded(pieces: BodyStream, most: u64) -> BodyStream {
    let mut left = most;
    let counted = pieces.map(move |piece| {
        let piece = piece?;
        let rest = left.checked_sub(piece.len() as u64);
        left = rest.ok_or_else(|| io::Error::other(TooLarge(most)))?;
        Ok(piece)
    });
    counted
        .then(async |piece| {
            consume_budget().await;
            piece
        })
        .boxed()
}
