//! What goes wrong on the way to a page. The guard turns it into one, with the navigation where somebody is signed in; the
//! unexpected is logged once, here, and shows only a reference.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};

use crate::{chance, domain::token::base62, store::StoreError};

/// Why a page is not shown.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// There is no such page or thing, or one may not see it.
    #[error("not found")]
    NotFound,
    /// One may see that it exists, but not do this; the words say what is missing.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Nobody is signed in.
    #[error("not signed in")]
    SignIn,
    /// The request does not come from a form that this session was given.
    #[error("the form is not from this session")]
    Forged,
    /// What was sent makes no sense; the words say why.
    #[error("bad request: {0}")]
    BadRequest(String),
    /// The body is larger than any form.
    #[error("too large")]
    TooLarge,
    /// Too many passwords are being checked at once.
    #[error("busy")]
    Busy,
    /// One network asks too often.
    #[error("too many requests")]
    TooMany,
    /// The database is away.
    #[error("the database is away ({0})")]
    Away(String),
    /// A fault of ours.
    #[error("unexpected ({0})")]
    Unexpected(String),
    /// Elsewhere, when nothing is wrong with the request but the way there.
    #[error("see {0}")]
    Elsewhere(String),
}

impl WebError {
    /// A fault of ours: logged with a reference, of which the page shows no more.
    pub fn unexpected(error: &dyn std::fmt::Display) -> Self {
        let reference = reference();
        tracing::error!(%error, reference, "a page failed");
        Self::Unexpected(reference)
    }

    /// Seconds after which trying again makes sense.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Busy => Some(2),
            Self::TooMany => Some(60),
            Self::Away(_) => Some(10),
            _ => None,
        }
    }
}

fn reference() -> String {
    base62(10, &mut chance::fill)
}

impl From<StoreError> for WebError {
    fn from(error: StoreError) -> Self {
        if error.is_outage() {
            let reference = reference();
            tracing::warn!(%error, reference, "the database did not answer");
            Self::Away(reference)
        } else {
            Self::unexpected(&error)
        }
    }
}

impl From<askama::Error> for WebError {
    fn from(error: askama::Error) -> Self {
        Self::unexpected(&error)
    }
}

impl ResponseError for WebError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden(_) | Self::Forged => StatusCode::FORBIDDEN,
            Self::SignIn | Self::Elsewhere(_) => StatusCode::SEE_OTHER,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy | Self::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unexpected(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A bare answer; the guard puts the page in its place.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}
