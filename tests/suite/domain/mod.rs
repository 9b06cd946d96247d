//! The rules, without a database.

mod notice;
pub mod properties;
mod roll;
