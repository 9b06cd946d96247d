//! Last use and hourly counters, written in batches. They touch no `version` and no `changed_at`, and are no change to anyone's memory.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
};

use diesel::{prelude::*, upsert::excluded};

use super::{
    Db, StoreError, Tx, micros, per_backend,
    schema::{gateways, key_usage as usage, key_usage_days as daily, keys as table},
};
use crate::domain::{
    ids::{GatewayId, KeyId, TenantId},
    time::Time,
    token::SecretHash,
};

/// The last use of one secret of a key.
#[derive(Debug, Clone)]
pub struct SecretUse {
    /// The key.
    pub key: KeyId,
    /// The secret, which may have become the old one in the meantime.
    pub hash: SecretHash,
    /// When.
    pub at: Time,
    /// The client's address, where it was known.
    pub ip: Option<String>,
}

/// What an hour adds to a key's counters.
#[derive(Debug, Clone, Copy)]
pub struct HourCount {
    /// The tenant.
    pub tenant: TenantId,
    /// The key.
    pub key: KeyId,
    /// Hours since 1970.
    pub hour: i64,
    /// Accepted decisions.
    pub accepted: i64,
    /// Refused decisions.
    pub refused: i64,
}

/// What a gateway credential did.
#[derive(Debug, Clone)]
pub struct GatewayUse {
    /// The credential.
    pub gateway: GatewayId,
    /// When and from where it last asked.
    pub asked: Option<(Time, Option<String>)>,
    /// When and from where a caller was last refused with it.
    pub refused: Option<(Time, Option<String>)>,
    /// How many were refused.
    pub refused_count: i64,
}

/// Writes down the last use of a secret, unless a later one is there already.
///
/// # Errors
/// The database is away.
pub fn secret_used(tx: &mut Tx<'_>, used: &SecretUse) -> Result<(), StoreError> {
    let (id, at, hash) = (used.key.as_str(), micros(used.at), used.hash.0.to_vec());
    // Nearly always it is the current secret's, and newer than all before: one statement then.
    let newest = diesel::update(table::table.filter(table::id.eq(id).and(table::hash.eq(&hash))))
        .filter(table::used_at.is_null().or(table::used_at.lt(at)))
        .filter(table::last_used_at.is_null().or(table::last_used_at.lt(at)))
        .set((table::used_at.eq(at), table::used_ip.eq(&used.ip), table::last_used_at.eq(at), table::last_used_ip.eq(&used.ip)))
        .execute(tx.conn())?;
    if newest > 0 {
        return Ok(());
    }
    let by_current = diesel::update(table::table.filter(table::id.eq(id).and(table::hash.eq(&hash))))
        .filter(table::used_at.is_null().or(table::used_at.lt(at)))
        .set((table::used_at.eq(at), table::used_ip.eq(&used.ip)))
        .execute(tx.conn())?;
    if by_current == 0 {
        diesel::update(table::table.filter(table::id.eq(id).and(table::old_hash.eq(&hash))))
            .filter(table::old_used_at.is_null().or(table::old_used_at.lt(at)))
            .set((table::old_used_at.eq(at), table::old_used_ip.eq(&used.ip)))
            .execute(tx.conn())?;
    }
    diesel::update(table::table.filter(table::id.eq(id)))
        .filter(table::last_used_at.is_null().or(table::last_used_at.lt(at)))
        .set((table::last_used_at.eq(at), table::last_used_ip.eq(&used.ip)))
        .execute(tx.conn())?;
    Ok(())
}

/// Writes down the last uses of many secrets, each unless a later one is there already. On `PostgreSQL` the rows are locked in the order
/// of the list.
///
/// # Errors
/// The database is away.
pub fn secrets_used(tx: &mut Tx<'_>, uses: &[SecretUse]) -> Result<(), StoreError> {
    // A server may take the rows of one statement in any order, and two processes would wait for each other.
    if tx.is_postgres() {
        return uses.iter().try_for_each(|used| secret_used(tx, used));
    }
    for chunk in uses.chunks(500) {
        // Key IDs are letters and digits, addresses are written by us, hashes are bytes: none can end a literal.
        let mut values = String::with_capacity(chunk.len() * 140);
        for used in chunk {
            let ip = used.ip.as_deref().and_then(|ip| ip.parse::<std::net::IpAddr>().ok()).map_or_else(|| "NULL".to_owned(), |ip| format!("'{ip}'"));
            let _ = write!(values, "{}('{}',{},{ip},X'", if values.is_empty() { "" } else { "," }, used.key.as_str(), micros(used.at));
            for byte in used.hash.0 {
                let _ = write!(values, "{byte:02x}");
            }
            values.push_str("')");
        }
        // Nearly always it is the current secret's use, and newer than all before. Without the signs before the hashes, SQLite makes an
        // index of the list by hash and reads every key there is.
        let sql = format!(
            "WITH used (id, at, ip, hash) AS (VALUES {values}) UPDATE keys SET used_at = used.at, used_ip = used.ip, last_used_at = used.at, last_used_ip = used.ip FROM used WHERE keys.id = used.id AND +keys.hash = +used.hash AND (keys.used_at IS NULL OR keys.used_at < used.at) AND (keys.last_used_at IS NULL OR keys.last_used_at < used.at) RETURNING keys.id AS id, keys.hash AS hash"
        );
        let written: Vec<Written> = diesel::sql_query(sql).load(tx.conn())?;
        if written.len() < chunk.len() {
            let written: HashSet<(&str, &[u8])> = written.iter().map(|row| (row.id.as_str(), row.hash.as_slice())).collect();
            for used in chunk.iter().filter(|used| !written.contains(&(used.key.as_str(), used.hash.0.as_slice()))) {
                secret_used(tx, used)?;
            }
        }
    }
    Ok(())
}

/// Whose these keys are, with the hashes of their secrets, the current one first; a key that is gone is left out.
///
/// # Errors
/// The database is away.
pub fn secrets(db: &mut Db, keys: &[KeyId]) -> Result<HashMap<KeyId, (TenantId, Vec<SecretHash>)>, StoreError> {
    let mut found = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(500) {
        let ids = chunk.iter().map(KeyId::as_str);
        let rows: Vec<(i64, String, Vec<u8>, Option<Vec<u8>>)> =
            table::table.filter(table::id.eq_any(ids)).select((table::tenant_id, table::id, table::hash, table::old_hash)).load(db.conn())?;
        for (tenant, id, hash, old) in rows {
            let hashes = [Some(hash), old].into_iter().flatten().filter_map(|hash| Some(SecretHash(hash.try_into().ok()?)));
            found.extend(KeyId::parse(&id).map(|id| (id, (TenantId::from_row(tenant), hashes.collect()))));
        }
    }
    Ok(found)
}

#[derive(QueryableByName)]
struct Written {
    #[diesel(sql_type = diesel::sql_types::Text)]
    id: String,
    #[diesel(sql_type = diesel::sql_types::Binary)]
    hash: Vec<u8>,
}

/// Adds to the counters of keys; no key and hour may come twice.
///
/// # Errors
/// The database is away.
pub fn count_many(tx: &mut Tx<'_>, counts: &[HourCount]) -> Result<(), StoreError> {
    for chunk in counts.chunks(500) {
        let rows: Vec<_> = chunk.iter().map(row).collect();
        per_backend!(tx.conn(), |inner| diesel::insert_into(usage::table)
            .values(&rows)
            .on_conflict((usage::tenant_id, usage::key_id, usage::hour))
            .do_update()
            .set((usage::accepted.eq(usage::accepted + excluded(usage::accepted)), usage::refused.eq(usage::refused + excluded(usage::refused))))
            .execute(inner))?;
    }
    count_days(tx, counts)
}

/// Adds to the counters by day what the hours come to.
fn count_days(tx: &mut Tx<'_>, counts: &[HourCount]) -> Result<(), StoreError> {
    // In the order of the keys, in which every process locks their rows.
    let mut days: BTreeMap<(TenantId, KeyId, i64), (i64, i64)> = BTreeMap::new();
    for count in counts {
        let day = days.entry((count.tenant, count.key, count.hour.div_euclid(24))).or_default();
        *day = (day.0 + count.accepted, day.1 + count.refused);
    }
    let rows: Vec<_> = days
        .iter()
        .map(|((tenant, key, day), (accepted, refused))| {
            (
                daily::tenant_id.eq(tenant.number()),
                daily::key_id.eq(key.as_str()),
                daily::day.eq(day),
                daily::accepted.eq(accepted),
                daily::refused.eq(refused),
            )
        })
        .collect();
    for chunk in rows.chunks(500) {
        per_backend!(tx.conn(), |inner| diesel::insert_into(daily::table)
            .values(chunk)
            .on_conflict((daily::tenant_id, daily::key_id, daily::day))
            .do_update()
            .set((daily::accepted.eq(daily::accepted + excluded(daily::accepted)), daily::refused.eq(daily::refused + excluded(daily::refused))))
            .execute(inner))?;
    }
    Ok(())
}

type Row<'a> = (
    diesel::dsl::Eq<usage::tenant_id, i64>,
    diesel::dsl::Eq<usage::key_id, &'a str>,
    diesel::dsl::Eq<usage::hour, i64>,
    diesel::dsl::Eq<usage::accepted, i64>,
    diesel::dsl::Eq<usage::refused, i64>,
);

fn row(count: &HourCount) -> Row<'_> {
    (
        usage::tenant_id.eq(count.tenant.number()),
        usage::key_id.eq(count.key.as_str()),
        usage::hour.eq(count.hour),
        usage::accepted.eq(count.accepted),
        usage::refused.eq(count.refused),
    )
}

/// Stores the counters of hours that have none yet, several rows a statement.
///
/// # Errors
/// The database is away, or an hour has counters.
pub fn insert_many(tx: &mut Tx<'_>, counts: &[HourCount]) -> Result<(), StoreError> {
    for chunk in counts.chunks(2_000) {
        let rows: Vec<_> = chunk.iter().map(row).collect();
        per_backend!(tx.conn(), |inner| diesel::insert_into(usage::table).values(&rows).execute(inner))?;
    }
    count_days(tx, counts)
}

/// Writes down what a gateway credential did.
///
/// # Errors
/// The database is away.
pub fn gateway_used(tx: &mut Tx<'_>, used: &GatewayUse) -> Result<(), StoreError> {
    let row = gateways::table.find(used.gateway.0);
    if let Some((at, from)) = &used.asked {
        let at = micros(*at);
        diesel::update(row)
            .filter(gateways::asked_at.is_null().or(gateways::asked_at.lt(at)))
            .set((gateways::asked_at.eq(at), gateways::asked_from.eq(from)))
            .execute(tx.conn())?;
    }
    if let Some((at, from)) = &used.refused {
        diesel::update(row)
            .set((
                gateways::refused_at.eq(micros(*at)),
                gateways::refused_from.eq(from),
                gateways::refused_count.eq(gateways::refused_count + used.refused_count),
            ))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// Takes away up to `most` counters of a tenant from before a moment, the oldest hour first. Answers how many.
///
/// # Errors
/// The database is away.
pub fn purge(tx: &mut Tx<'_>, tenant: TenantId, before: Time, most: i64) -> Result<usize, StoreError> {
    let of_tenant = usage::tenant_id.eq(tenant.number());
    let oldest: Option<i64> = usage::table.filter(of_tenant).select(diesel::dsl::min(usage::hour)).first(tx.conn())?;
    let Some(hour) = oldest.filter(|hour| *hour < before.timestamp().div_euclid(3600)) else { return Ok(0) };
    let keys: Vec<String> = usage::table.filter(of_tenant.and(usage::hour.eq(hour))).limit(most).select(usage::key_id).load(tx.conn())?;
    Ok(diesel::delete(usage::table.filter(of_tenant.and(usage::hour.eq(hour)).and(usage::key_id.eq_any(keys)))).execute(tx.conn())?)
}

/// Takes away up to `most` counters by day of a tenant, of days that ended before a moment, the oldest first. Answers how many.
///
/// # Errors
/// The database is away.
pub fn purge_days(tx: &mut Tx<'_>, tenant: TenantId, before: Time, most: i64) -> Result<usize, StoreError> {
    let of_tenant = daily::tenant_id.eq(tenant.number());
    let oldest: Option<i64> = daily::table.filter(of_tenant).select(diesel::dsl::min(daily::day)).first(tx.conn())?;
    let Some(day) = oldest.filter(|day| *day < before.timestamp().div_euclid(86_400)) else { return Ok(0) };
    let keys: Vec<String> = daily::table.filter(of_tenant.and(daily::day.eq(day))).limit(most).select(daily::key_id).load(tx.conn())?;
    Ok(diesel::delete(daily::table.filter(of_tenant.and(daily::day.eq(day)).and(daily::key_id.eq_any(keys)))).execute(tx.conn())?)
}

/// Whether a tenant has counters from before a moment.
///
/// # Errors
/// The database is away.
pub fn has_before(db: &mut Db, tenant: TenantId, before: Time) -> Result<bool, StoreError> {
    let oldest: Option<i64> = usage::table.filter(usage::tenant_id.eq(tenant.number())).select(diesel::dsl::min(usage::hour)).first(db.conn())?;
    Ok(oldest.is_some_and(|hour| hour < before.timestamp().div_euclid(3600)))
}
