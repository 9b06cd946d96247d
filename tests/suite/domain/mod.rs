//! The rules, without a database.

mod properties;
mod roll;
