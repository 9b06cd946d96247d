//! Queries, on both databases.

pub mod grid;
