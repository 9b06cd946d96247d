//! What mails say, and how they leave. Nothing here asks the database: what a mail tells of is handed in.

mod letter;
mod transport;
mod words;

pub use letter::{Header, Letter};
pub use transport::{Mailer, Refusal, SetUpError, WRITTEN, purge_files};
pub use words::{About, digest_subject, write};
