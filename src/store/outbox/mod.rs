//! The outbox: mails are written in the transaction of what causes them and sent afterwards, by whichever process takes them.
//!
//! A mail waits while `next_at` is set. Who takes it moves `next_at` to the end of a lease and puts its own name on the row, so
//! that a mail whose sender died is tried again, and a sender that was too slow changes nothing any more.
//!
//! | file | what happens there |
//! |---|---|
//! | `add` | a mail is written, once a cause |
//! | `digests` | lines of digests are written, many recipients at a time |
//! | `lines` | what a digest says, and what became of each line |
//! | `take` | a sender takes what is due |
//! | `settle` | a sender says what became of it |
//! | `list` | the Mail pages look, and send again |

mod add;
mod digests;
mod lines;
mod list;
mod settle;
mod take;

use diesel::prelude::*;

pub use add::{NewMail, add, add_for, invited_since, newest_to, rewrite, written_since};
pub use digests::{Lines, NewNotice, add_digests, add_notices, hold_digest};
pub use lines::{Notice, notice_of_link, notices_of, set_shown, shown, sizes};
pub use list::{
    all_failed_since, failed_since, failed_since_of_installation, find, find_of_installation, list, list_of_installation, send_again,
    send_again_of_installation,
};
pub use settle::{Outcome, settle};
pub use take::{LEASE, count_waiting, next_due, release_all, sent_since, take};

use super::{StoreError, Tx, micros, moment, schema::mails as table};
use crate::domain::{
    ids::{AccountId, MailId, TenantId},
    mail::Mail,
    time::Time,
};

/// Whom a mail goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    /// The address.
    pub address: String,
    /// The person's name; empty where it is not known.
    pub name: String,
}

/// A mail in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The mail; links and the Message-ID are derived from it.
    pub id: MailId,
    /// The tenant on whose Mail page it stands.
    pub tenant: Option<TenantId>,
    /// The account that it is about.
    pub account: Option<AccountId>,
    /// What it tells of.
    pub mail: Mail,
    /// The recipient.
    pub to: To,
    /// When it was written.
    pub created_at: Time,
    /// When it is to leave; moved by *Send again*.
    pub due_at: Time,
    /// When it is tried next, while it waits.
    pub next_at: Option<Time>,
    /// When a sender first had it, or had it after *Send again*.
    pub taken_at: Option<Time>,
    /// How often it was tried.
    pub tries: i64,
    /// When a server took it.
    pub sent_at: Option<Time>,
    /// When it was given up.
    pub failed_at: Option<Time>,
    /// When its cause had gone before it left.
    pub dropped_at: Option<Time>,
    /// What the server said last.
    pub said: String,
}

/// How far a mail has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is to be sent, or tried again.
    Waiting,
    /// A server took it.
    Sent,
    /// It was given up.
    Failed,
    /// Its cause had gone before it left.
    Dropped,
}

impl Row {
    /// How far it has come.
    pub fn state(&self) -> State {
        match self {
            Self { sent_at: Some(_), .. } => State::Sent,
            Self { failed_at: Some(_), .. } => State::Failed,
            Self { dropped_at: Some(_), .. } => State::Dropped,
            _ => State::Waiting,
        }
    }
}

/// An address as it is compared: two spellings that differ in case are one recipient.
pub fn folded(address: &str) -> String {
    address.trim().to_lowercase()
}

type RowColumns = (
    (table::id, table::tenant_id, table::account_id, table::facts),
    (table::recipient, table::recipient_name, table::created_at, table::due_at, table::next_at, table::taken_at, table::tries),
    (table::sent_at, table::failed_at, table::dropped_at, table::said),
);
type RowValues = (
    (i64, Option<i64>, Option<i64>, String),
    (String, String, i64, i64, Option<i64>, Option<i64>, i64),
    (Option<i64>, Option<i64>, Option<i64>, String),
);

const COLUMNS: RowColumns = (
    (table::id, table::tenant_id, table::account_id, table::facts),
    (table::recipient, table::recipient_name, table::created_at, table::due_at, table::next_at, table::taken_at, table::tries),
    (table::sent_at, table::failed_at, table::dropped_at, table::said),
);

fn row((what, when, end): RowValues) -> Result<Row, StoreError> {
    Ok(Row {
        id: MailId(what.0),
        tenant: what.1.map(TenantId::from_row),
        account: what.2.map(AccountId),
        mail: serde_json::from_str(&what.3).map_err(|error| StoreError::Row(format!("the facts of a mail: {error}")))?,
        to: To { address: when.0, name: when.1 },
        created_at: moment(when.2),
        due_at: moment(when.3),
        next_at: when.4.map(moment),
        taken_at: when.5.map(moment),
        tries: when.6,
        sent_at: end.0.map(moment),
        failed_at: end.1.map(moment),
        dropped_at: end.2.map(moment),
        said: end.3,
    })
}

/// The mails that this version can read; a newer one may have written others.
fn readable(rows: Vec<RowValues>) -> Vec<Row> {
    let read = rows.into_iter().filter_map(|values| {
        let id = values.0.0;
        row(values).inspect_err(|error| tracing::warn!(mail = id, %error, "a mail cannot be read and is left out")).ok()
    });
    read.collect()
}

/// Takes away up to `most` mails that are done with since before a moment, with their lines. Answers how many.
///
/// # Errors
/// The database is away.
pub fn purge(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<usize, StoreError> {
    let old: Vec<i64> = table::table
        .filter(table::next_at.is_null().and(table::created_at.lt(micros(before))))
        .order(table::created_at)
        .limit(most)
        .select(table::id)
        .load(tx.conn())?;
    Ok(diesel::delete(table::table.filter(table::id.eq_any(old))).execute(tx.conn())?)
}
