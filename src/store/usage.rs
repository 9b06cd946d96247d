//! Last use and hourly counters, written in batches. They touch no `version` and no `changed_at`, and are no change to anyone's memory.

use diesel::prelude::*;

use super::{
    StoreError, Tx, micros, per_backend,
    schema::{gateways, key_usage as usage, keys as table},
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

/// Adds to the counters of a key.
///
/// # Errors
/// The database is away.
pub fn count(tx: &mut Tx<'_>, count: &HourCount) -> Result<(), StoreError> {
    let row = (
        usage::tenant_id.eq(count.tenant.number()),
        usage::key_id.eq(count.key.as_str()),
        usage::hour.eq(count.hour),
        usage::accepted.eq(count.accepted),
        usage::refused.eq(count.refused),
    );
    per_backend!(tx.conn(), |inner| diesel::insert_into(usage::table)
        .values(row)
        .on_conflict((usage::tenant_id, usage::key_id, usage::hour))
        .do_update()
        .set((usage::accepted.eq(usage::accepted + count.accepted), usage::refused.eq(usage::refused + count.refused)))
        .execute(inner))?;
    Ok(())
}

/// Stores the counters of hours that have none yet, several rows a statement.
///
/// # Errors
/// The database is away, or an hour has counters.
pub fn insert_many(tx: &mut Tx<'_>, counts: &[HourCount]) -> Result<(), StoreError> {
    for chunk in counts.chunks(2_000) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|count| {
                (
                    usage::tenant_id.eq(count.tenant.number()),
                    usage::key_id.eq(count.key.as_str()),
                    usage::hour.eq(count.hour),
                    usage::accepted.eq(count.accepted),
                    usage::refused.eq(count.refused),
                )
            })
            .collect();
        per_backend!(tx.conn(), |inner| diesel::insert_into(usage::table).values(&rows).execute(inner))?;
    }
    Ok(())
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
