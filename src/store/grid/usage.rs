//! The last thirty days of keys.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::{
    domain::{
        ids::{KeyId, TenantId},
        time::Time,
    },
    store::{Db, StoreError, schema::key_usage_days as table},
};

/// The accepted and refused requests of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Day {
    /// Accepted.
    pub accepted: i64,
    /// Refused.
    pub refused: i64,
}

/// The last 30 days (UTC) of a key, oldest first; the last one is today so far.
pub type Month = [Day; 30];

/// The use of these keys in the last 30 days.
///
/// # Errors
/// The database is away.
pub fn usage(db: &mut Db, tenant: TenantId, ids: &[KeyId], now: Time) -> Result<HashMap<KeyId, Month>, StoreError> {
    let mut months: HashMap<KeyId, Month> = HashMap::new();
    let first = now.timestamp().div_euclid(86_400) - 29;
    let rows: Vec<(String, i64, i64, i64)> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::key_id.eq_any(ids.iter().map(KeyId::as_str))).and(table::day.ge(first)))
        .select((table::key_id, table::day, table::accepted, table::refused))
        .load(db.conn())?;
    for (id, day, accepted, refused) in rows {
        let Some(id) = KeyId::parse(&id) else { continue };
        if let Some(sum) = usize::try_from(day - first).ok().and_then(|day| months.entry(id).or_default().get_mut(day)) {
            *sum = Day { accepted, refused };
        }
    }
    Ok(months)
}
