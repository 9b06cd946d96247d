//! Keyward: a self-hosted console for API keys.
//!
//! | part | what it is | may use |
//! |---|---|---|
//! | [`domain`] | what the product knows, pure | – |
//! | [`clock`], [`chance`], [`config`] | time, random bytes, settings of the process | domain |
//! | [`store`] | the only place that knows the database | domain |
//! | [`actions`] | what a person or program can do, one transaction each | domain, store |
//! | [`verify`] | the hot path: may this request pass? | domain, store |
//! | [`web`] | pages for people | domain, clock, store (reads), actions |
//! | [`api`] | JSON for programs and gateways | domain, clock, store (reads), actions, verify |
//! | [`jobs`] | what happens by itself | domain, clock, store, actions, verify, mail |
//! | [`mail`] | what mails say, and how they leave | domain |
//! | [`app`] | puts the parts together | all above |
//! | [`cli`] | the command line | app |

pub mod actions;
pub mod api;
pub mod app;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod jobs;
pub mod mail;
pub mod secrets;
pub mod store;
pub mod verify;
pub mod web;
