//! Queries, on both databases.

mod grid;
