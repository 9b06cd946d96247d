//! Gateway credentials: they belong to a tenant, not to a member.

use diesel::prelude::*;

use super::{Change, Db, StoreError, Tx, micros, moment, schema::gateways as table};
use crate::domain::{
    ids::{GatewayId, KeyId, TenantId},
    key::Use,
    time::Time,
    token::SecretHash,
};

/// A gateway credential; nothing of its secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The credential.
    pub id: GatewayId,
    /// The ID in its token.
    pub public_id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Time,
    /// By whom.
    pub created_by: String,
    /// When it ends; there is no grace.
    pub expires_at: Option<Time>,
    /// When it was revoked, and by whom.
    pub revoked: Option<(Time, String)>,
    /// When the current secret was made.
    pub made_at: Time,
    /// When the old secret stops, where there is one.
    pub old_stops_at: Option<Time>,
    /// When and from where it last asked.
    pub asked: Option<Use>,
    /// When and from where a caller was last refused with it.
    pub refused: Option<Use>,
    /// How often callers were refused.
    pub refused_count: i64,
    /// Moves with every change.
    pub version: i64,
}

impl Gateway {
    /// Whether its current secret works.
    pub fn is_active(&self, now: Time) -> bool {
        self.revoked.is_none() && self.expires_at.is_none_or(|end| end > now)
    }

    /// When the old secret stops, while it works.
    pub fn overlap(&self, now: Time) -> Option<Time> {
        self.old_stops_at.filter(|stops_at| *stops_at > now && self.is_active(now))
    }
}

type Row = (
    (i64, String, String, i64, String),
    (Option<i64>, Option<i64>, Option<String>, i64, Option<i64>),
    (Option<i64>, Option<String>, Option<i64>, Option<String>, i64, i64),
);

type Columns = (
    (table::id, table::public_id, table::name, table::created_at, table::created_by),
    (table::expires_at, table::revoked_at, table::revoked_by, table::made_at, table::old_stops_at),
    (table::asked_at, table::asked_from, table::refused_at, table::refused_from, table::refused_count, table::version),
);

const COLUMNS: Columns = (
    (table::id, table::public_id, table::name, table::created_at, table::created_by),
    (table::expires_at, table::revoked_at, table::revoked_by, table::made_at, table::old_stops_at),
    (table::asked_at, table::asked_from, table::refused_at, table::refused_from, table::refused_count, table::version),
);

fn gateway(row: Row) -> Gateway {
    let (
        (id, public_id, name, created_at, created_by),
        (expires_at, revoked_at, revoked_by, made_at, old_stops_at),
        (asked_at, asked_from, refused_at, refused_from, refused_count, version),
    ) = row;
    let seen = |at: Option<i64>, ip| at.map(|at| Use { at: moment(at), ip });
    Gateway {
        id: GatewayId(id),
        public_id,
        name,
        created_at: moment(created_at),
        created_by,
        expires_at: expires_at.map(moment),
        revoked: revoked_at.map(|at| (moment(at), revoked_by.unwrap_or_default())),
        made_at: moment(made_at),
        old_stops_at: old_stops_at.map(moment),
        asked: seen(asked_at, asked_from),
        refused: seen(refused_at, refused_from),
        refused_count,
        version,
    }
}

/// Every gateway credential of the tenant: those that work first, then by age.
///
/// # Errors
/// The database is away.
pub fn all(db: &mut Db, tenant: TenantId) -> Result<Vec<Gateway>, StoreError> {
    let rows: Vec<Row> = table::table.filter(table::tenant_id.eq(tenant.number())).order(table::id).select(COLUMNS).load(db.conn())?;
    let mut gateways: Vec<Gateway> = rows.into_iter().map(gateway).collect();
    gateways.sort_by_key(|gateway| gateway.revoked.is_some());
    Ok(gateways)
}

/// A gateway credential of the tenant.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, tenant: TenantId, id: GatewayId) -> Result<Option<Gateway>, StoreError> {
    let row: Option<Row> =
        table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(id.0))).select(COLUMNS).first(db.conn()).optional()?;
    Ok(row.map(gateway))
}

/// A credential to be made.
pub struct New<'a> {
    /// The ID in its token.
    pub public_id: KeyId,
    /// Its name.
    pub name: &'a str,
    /// Who makes it.
    pub by: &'a str,
    /// When it ends.
    pub expires_at: Option<Time>,
    /// The stored form of its secret.
    pub hash: SecretHash,
    /// The pepper's version.
    pub pepper: i64,
}

/// Makes a gateway credential.
///
/// # Errors
/// The database is away.
pub fn create(tx: &mut Tx<'_>, tenant: TenantId, new: &New<'_>) -> Result<GatewayId, StoreError> {
    let now = micros(tx.now());
    diesel::insert_into(table::table)
        .values((
            (table::tenant_id.eq(tenant.number()), table::public_id.eq(new.public_id.as_str()), table::name.eq(new.name)),
            (table::created_at.eq(now), table::created_by.eq(new.by), table::expires_at.eq(new.expires_at.map(micros))),
            (table::hash.eq(new.hash.0.to_vec()), table::pepper.eq(new.pepper), table::made_at.eq(now), table::version.eq(1i64)),
        ))
        .execute(tx.conn())?;
    let id: i64 = table::table.filter(table::public_id.eq(new.public_id.as_str())).select(table::id).first(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(GatewayId(id))
}

/// Puts a new secret in the place of the current one, which works on until `stops_at`. Whether the credential was still as it was
/// seen, and not revoked.
///
/// # Errors
/// The database is away.
pub fn roll(tx: &mut Tx<'_>, tenant: TenantId, seen: &Gateway, hash: SecretHash, pepper: i64, stops_at: Time) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let target = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(seen.id.0)))
        .filter(table::version.eq(seen.version).and(table::revoked_at.is_null()));
    let secret = (table::hash.eq(hash.0.to_vec()), table::pepper.eq(pepper), table::made_at.eq(now), table::version.eq(table::version + 1));
    let rolled = if micros(stops_at) > now {
        let old =
            (table::old_hash.eq(table::hash.nullable()), table::old_pepper.eq(table::pepper.nullable()), table::old_stops_at.eq(micros(stops_at)));
        diesel::update(target).set((secret, old)).execute(tx.conn())?
    } else {
        // What stops now is forgotten: no clock that goes back makes it work again.
        let none = (table::old_hash.eq(None::<Vec<u8>>), table::old_pepper.eq(None::<i64>), table::old_stops_at.eq(None::<i64>));
        diesel::update(target).set((secret, none)).execute(tx.conn())?
    };
    tx.changed(Change::Tenant(tenant));
    Ok(rolled == 1)
}

/// Stops a credential for good. Whether it was not stopped before.
///
/// # Errors
/// The database is away.
pub fn revoke(tx: &mut Tx<'_>, tenant: TenantId, id: GatewayId, by: &str) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let revoked = diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(id.0))))
        .filter(table::revoked_at.is_null())
        .set((table::revoked_at.eq(now), table::revoked_by.eq(by), table::version.eq(table::version + 1)))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(revoked == 1)
}

/// Whether a credential, known by the ID in its token, is not revoked and has this expiry.
///
/// # Errors
/// The database is away.
pub fn ends_at(db: &mut Db, tenant: TenantId, public_id: &str, at: Time) -> Result<bool, StoreError> {
    let found = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::public_id.eq(public_id)))
        .filter(table::revoked_at.is_null().and(table::expires_at.eq(micros(at))));
    Ok(found.count().get_result::<i64>(db.conn())? > 0)
}
