//! Compresses pages with brotli. A page is whole when it leaves, so it takes a better level than what streams at no more time:
//! a row of a table differs little from the one above it.

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody as _},
    dev::ServiceResponse,
    http::{
        Method,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY},
    },
    web::{Bytes, block},
};

/// Shorter ones gain nothing.
const SHORTEST: usize = 1024;

/// Above 6, a page costs several times the time for a few hundred bytes.
const QUALITY: i32 = 6;

/// Whether the one who asks takes `coding`.
pub fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        let is_meant = words.next() == Some(coding);
        is_meant && !words.any(|word| word.strip_prefix("q=").and_then(|share| share.parse::<f32>().ok()) == Some(0.0))
    })
}

/// The answer with its page compressed, where that is whole and the browser takes brotli; else as it was.
pub async fn press(res: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let headers = res.headers();
    let is_page = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_page || headers.contains_key(CONTENT_ENCODING) || res.request().method() == Method::HEAD || !takes(res.request().headers(), "br") {
        return res;
    }
    let (request, answer) = res.into_parts();
    let (head, body) = answer.into_parts();
    let page = match body.try_into_bytes() {
        Ok(page) if page.len() >= SHORTEST => page,
        Ok(page) => return ServiceResponse::new(request, head.set_body(BoxBody::new(page))),
        Err(stream) => return ServiceResponse::new(request, head.set_body(stream)),
    };
    let small = block({
        let page = page.clone();
        move || brotli_of(&page, QUALITY, 18)
    })
    .await
    .ok()
    .flatten();
    let mut answer: HttpResponse<BoxBody> = head.set_body(BoxBody::new(small.clone().map_or(page, Bytes::from)));
    if small.is_some() {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        answer.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    ServiceResponse::new(request, answer)
}

/// `bytes` compressed. Writing into memory does not fail; were it to, there is nothing.
pub fn brotli_of(bytes: &[u8], quality: i32, window: i32) -> Option<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams { quality, lgwin: window, size_hint: bytes.len(), ..Default::default() };
    let mut out = Vec::with_capacity(bytes.len() / 8);
    brotli::BrotliCompress(&mut &*bytes, &mut out, &params).ok().map(|_| out)
}
