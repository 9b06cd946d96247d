//! Mails: written once, sent once, readable, and seen by the admins.

mod causes;
mod changes;
mod digests;
mod first;
mod forgotten;
mod invited;
mod killed;
mod outbox;
mod peers;
mod sending;
