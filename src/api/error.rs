//! One shape for every error of the API: `application/problem+json` (RFC 9457). No detail of the inside is ever in it.

use std::borrow::Cow;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
};

use crate::chance;

/// A refusal in words for the caller.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: Cow<'static, str>,
    instance: String,
}

impl Problem {
    /// A problem with a code for programs and a sentence for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let reference = chance::bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            instance: format!("urn:request:{reference}"),
        }
    }

    /// The answer, with the methods that would have been right.
    pub fn allow(self, methods: &'static str) -> HttpResponse {
        let mut response: HttpResponse = self.into();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        response
    }
}

impl From<Problem> for HttpResponse {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Self::build(status);
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
        response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        response.insert_header((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        response.body(serde_json::to_vec(&problem).unwrap_or_default())
    }
}
