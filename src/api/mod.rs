//! JSON and headers for programs and gateways. Every address is in the `routes` of its file, each under `/api/v1`.

pub mod error;
pub mod verify;
