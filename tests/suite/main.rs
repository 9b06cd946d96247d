//! The whole suite in one binary, so that it is linked once.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[macro_use]
mod support;

mod access_pages;
mod architecture;
mod bad_input;
mod cli;
mod commits;
mod config;
mod console;
mod domain;
mod event_pages;
mod extend;
mod grid_pages;
mod installation_pages;
mod key_pages;
mod mail;
mod member_pages;
mod notices;
mod policies;
mod purge;
mod route_walk;
mod secrecy;
mod settings;
mod sign_in;
mod sign_in_limits;
mod sixty_days;
mod start;
mod store;
mod verification;
