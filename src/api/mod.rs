//! JSON and headers for programs and gateways, each under `/api/v1`, and whether the process is up.

pub mod error;
pub mod health;
pub mod verify;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, ServiceConfig},
};

use self::error::Problem;
use crate::web::{
    site::Site,
    urls::{Urls, any},
};

/// Every address for programs. What is unknown below `/api/v1` is so in words for programs, under any host.
pub fn urls() -> Urls {
    verify::urls().and(health::urls()).route("/api/v1/{tail:.*}", any().to(unknown))
}

async fn unknown(site: Data<Site>) -> HttpResponse {
    let mut answer: HttpResponse = Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.").into();
    if let Some((name, value)) = site.only_https() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Serves them.
pub fn routes(config: &mut ServiceConfig) {
    urls().register(config);
}
