//! Whether the process is up, and whether it can answer: for what starts and watches it.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS},
    },
    web::Data,
};

use super::verify::Gate;
use crate::{
    clock::Skew,
    web::{
        site::Site,
        urls::{Urls, any},
    },
};

/// Their addresses.
pub fn urls() -> Urls {
    Urls::default().route("/healthz", any().to(healthz)).route("/readyz", any().to(readyz))
}

async fn healthz(site: Data<Site>) -> HttpResponse {
    say(&site, StatusCode::OK, "ok\n".into())
}

async fn readyz(gate: Data<Gate>, skew: Data<Skew>, site: Data<Site>) -> HttpResponse {
    if !gate.verifier.is_fresh() {
        return say(&site, StatusCode::SERVICE_UNAVAILABLE, "the database is away\n".into());
    }
    match skew.too_large() {
        Some(seconds) => {
            let words = format!("this machine's clock differs from the database server's by {seconds} s\n");
            say(&site, StatusCode::SERVICE_UNAVAILABLE, words)
        }
        None => say(&site, StatusCode::OK, "ready\n".into()),
    }
}

fn say(site: &Site, status: StatusCode, words: String) -> HttpResponse {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((CACHE_CONTROL, "no-store")).insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff")).content_type("text/plain");
    if let Some(header) = site.only_https() {
        answer.insert_header(header);
    }
    answer.body(words)
}
