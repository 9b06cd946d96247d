//! The last thirty days of keys.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::{
    domain::{
        ids::{KeyId, TenantId},
        time::Time,
    },
    store::{Db, StoreError},
};

/// The accepted and refused requests of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Day {
    /// Accepted.
    pub accepted: i64,
    /// Refused.
    pub refused: i64,
}

/// The last 30 days of a key, oldest first; the last one is the current 24 hours.
pub type Month = [Day; 30];

#[derive(QueryableByName)]
pub(super) struct UsageRow {
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub(super) key_id: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(super) day: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(super) accepted: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub(super) refused: i64,
}

/// The use of these keys in the last 30 days.
///
/// # Errors
/// The database is away.
pub fn usage(db: &mut Db, tenant: TenantId, ids: &[KeyId], now: Time) -> Result<HashMap<KeyId, Month>, StoreError> {
    let mut months = HashMap::new();
    if ids.is_empty() {
        return Ok(months);
    }
    let from = now.timestamp() / 3600 - 30 * 24 + 1;
    // Key IDs are letters and digits by their type.
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    let days = format!(
        "(hour - {from}) / 24 AS day, CAST(sum(accepted) AS BIGINT) AS accepted, CAST(sum(refused) AS BIGINT) AS refused FROM key_usage WHERE tenant_id = {} AND hour >= {from}",
        tenant.number()
    );
    // PostgreSQL would sort all hours of all keys by text; a key at a time it counts thirty numbers.
    let sql = if db.is_postgres() {
        format!(
            "SELECT one.key_id, month.* FROM unnest(ARRAY[{list}]) AS one (key_id), LATERAL (SELECT {days} AND key_id = one.key_id GROUP BY 1) AS month"
        )
    } else {
        format!("SELECT key_id, {days} AND key_id IN ({list}) GROUP BY key_id, (hour - {from}) / 24")
    };
    for row in diesel::sql_query(sql).load::<UsageRow>(db.conn())? {
        if let Some(id) = KeyId::parse(&row.key_id) {
            let month: &mut Month = months.entry(id).or_default();
            if let Some(day) = usize::try_from(row.day).ok().and_then(|day| month.get_mut(day)) {
                *day = Day { accepted: row.accepted, refused: row.refused };
            }
        }
    }
    Ok(months)
}
