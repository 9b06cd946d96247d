//! Mails: written once, sent once, readable, and seen by the admins.

mod causes;
mod invited;
mod outbox;
mod peers;
mod sending;
