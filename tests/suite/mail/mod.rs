//! Mails: written once, sent once, readable, and seen by the admins.

mod outbox;
mod sending;
