//! JSON and headers for programs and gateways, each under `/api/v1`, and whether the process is up.

pub mod error;
pub mod verify;

use actix_web::web::ServiceConfig;

use crate::web::urls::Urls;

/// Every address for programs.
pub fn urls() -> Urls {
    verify::urls().and(verify::health_urls())
}

/// Serves them.
pub fn routes(config: &mut ServiceConfig) {
    urls().register(config);
}
