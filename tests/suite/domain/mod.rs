//! The rules, without a database.

mod notice;
mod properties;
mod roll;
