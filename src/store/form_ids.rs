//! One-time IDs of forms that make a secret: a second arrival (double click, reload) makes nothing.

use diesel::prelude::*;

use super::{Db, StoreError, Tx, micros, schema::form_ids as table};
use crate::domain::ids::AccountId;

/// What a form with this ID made before; `None` where it is new.
///
/// # Errors
/// The database is away.
pub fn result(db: &mut Db, account: AccountId, id: &str) -> Result<Option<String>, StoreError> {
    Ok(table::table.filter(table::account_id.eq(account.0).and(table::id.eq(id))).select(table::result).first(db.conn()).optional()?)
}

/// Remembers what a form made.
///
/// # Errors
/// The database is away, or the form was used before.
pub fn use_up(tx: &mut Tx<'_>, account: AccountId, id: &str, result: &str) -> Result<(), StoreError> {
    diesel::insert_into(table::table)
        .values((table::account_id.eq(account.0), table::id.eq(id), table::result.eq(result), table::used_at.eq(micros(tx.now()))))
        .execute(tx.conn())?;
    Ok(())
}
