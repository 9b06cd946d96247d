//! What became of a mail that was taken.

use diesel::prelude::*;

use crate::{
    domain::{ids::MailId, time::Time},
    store::{StoreError, Tx, micros, schema::mails as table},
};

/// What became of a mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server took it.
    Sent,
    /// It is tried again then.
    Again(Time),
    /// It was not tried, and is looked at again then.
    Later(Time),
    /// It is given up.
    Failed,
    /// Its cause has gone: it does not leave.
    Dropped,
}

/// Writes down what became of a mail, in the server's words; `false` where the sender's lease was over and another has it.
///
/// # Errors
/// The database is away.
pub fn settle(tx: &mut Tx<'_>, id: MailId, sender: &str, outcome: &Outcome, said: &str) -> Result<bool, StoreError> {
    let now = Some(micros(tx.now()));
    let tried = i64::from(!matches!(outcome, Outcome::Later(_) | Outcome::Dropped));
    let next = match outcome {
        Outcome::Again(at) | Outcome::Later(at) => Some(micros(*at)),
        _ => None,
    };
    let at = |this: &Outcome| if outcome == this { now } else { None };
    let held = table::table.filter(table::id.eq(id.0).and(table::leased_by.eq(sender)).and(table::next_at.is_not_null()));
    let changed = diesel::update(held)
        .set((
            (table::next_at.eq(next), table::leased_by.eq(None::<String>), table::tries.eq(table::tries + tried), table::said.eq(said)),
            (table::sent_at.eq(at(&Outcome::Sent)), table::failed_at.eq(at(&Outcome::Failed)), table::dropped_at.eq(at(&Outcome::Dropped))),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}
