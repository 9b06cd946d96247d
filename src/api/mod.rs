//! JSON and headers for programs and gateways, each under `/api/v1`, and whether the process is up.

pub mod error;
pub mod verify;

use actix_web::web::ServiceConfig;

/// Every address for programs.
pub fn routes(config: &mut ServiceConfig) {
    verify::routes(config);
    verify::health_routes(config);
}
