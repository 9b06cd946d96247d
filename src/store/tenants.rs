//! Tenants and their settings.

use diesel::prelude::*;

use super::{Change, Db, StoreError, Tx, micros, moment, per_backend, schema::grace_values, schema::tenants as table};
use crate::domain::{
    change::Policy,
    ids::TenantId,
    mark::mark,
    names::Slug,
    permission::BuiltIn,
    tenant::{GraceHistory, Settings},
    time::Time,
    verdict::TenantFacts,
};

/// A tenant with its settings.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// What queries bind.
    pub id: TenantId,
    /// Its fixed address.
    pub slug: String,
    /// The name that people read.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// The values that its grace has had.
    pub grace: GraceHistory,
    /// How many active persons may hold `keys.manage_own`; `None` is no bound.
    pub seats: Option<i64>,
    /// When it was made.
    pub created_at: Time,
    /// When the installation owner suspended it, while it is.
    pub suspended_at: Option<Time>,
}

impl Tenant {
    /// A short mark of name and seats, so that a form that showed others is noticed.
    pub fn mark(&self) -> String {
        mark([self.name.as_str(), &self.seats.map(|seats| seats.to_string()).unwrap_or_default()])
    }

    /// Its rules for what can happen to a key.
    pub const fn policy(&self) -> Policy<'_> {
        Policy { settings: &self.settings, grace: &self.grace, suspended: self.suspended_at.is_some() }
    }

    /// What a verdict needs to know of it.
    pub fn facts(&self) -> TenantFacts {
        TenantFacts { keys_enabled: self.settings.keys_enabled, suspended: self.suspended_at.is_some(), grace: self.grace.clone() }
    }
}

type Row = (i64, String, String, String, Option<i64>, i64, Option<i64>);

fn tenant(db: &mut Db, row: Row) -> Result<Tenant, StoreError> {
    let (id, slug, name, settings, seats, created_at, suspended_at) = row;
    let settings = serde_json::from_str(&settings).map_err(|error| StoreError::Row(format!("the settings of tenant {id}: {error}")))?;
    let values: Vec<(i64, i64)> =
        grace_values::table.filter(grace_values::tenant_id.eq(id)).select((grace_values::since, grace_values::days)).load(db.conn())?;
    let grace = GraceHistory::new(values.into_iter().map(|(since, days)| (moment(since), u32::try_from(days).unwrap_or(0))).collect());
    Ok(Tenant {
        id: TenantId::from_row(id),
        slug,
        name,
        settings,
        grace,
        seats,
        created_at: moment(created_at),
        suspended_at: suspended_at.map(moment),
    })
}

/// The tenant at an address.
///
/// # Errors
/// The database is away.
pub fn by_slug(db: &mut Db, slug: &str) -> Result<Option<Tenant>, StoreError> {
    let row: Option<Row> = table::table.filter(table::slug.eq(slug)).first(db.conn()).optional()?;
    row.map(|row| tenant(db, row)).transpose()
}

/// A tenant that something already belongs to.
///
/// # Errors
/// The database is away.
pub fn get(db: &mut Db, id: TenantId) -> Result<Tenant, StoreError> {
    let row: Row = table::table.find(id.number()).first(db.conn())?;
    tenant(db, row)
}

/// Every tenant, by address.
///
/// # Errors
/// The database is away.
pub fn all(db: &mut Db) -> Result<Vec<Tenant>, StoreError> {
    let rows: Vec<Row> = table::table.order(table::slug).load(db.conn())?;
    rows.into_iter().map(|row| tenant(db, row)).collect()
}

/// Makes a tenant with its three built-in console roles. `None` where the address is taken.
///
/// # Errors
/// The database is away.
pub fn create(tx: &mut Tx<'_>, slug: &Slug, name: &str, settings: &Settings) -> Result<Option<TenantId>, StoreError> {
    use super::schema::console_roles as roles;
    let now = micros(tx.now());
    if table::table.filter(table::slug.eq(slug.as_str())).count().get_result::<i64>(tx.conn())? > 0 {
        return Ok(None);
    }
    let text = serde_json::to_string(settings).map_err(|error| StoreError::Row(error.to_string()))?;
    diesel::insert_into(table::table)
        .values((table::slug.eq(slug.as_str()), table::name.eq(name), table::settings.eq(text), table::created_at.eq(now)))
        .execute(tx.conn())?;
    let id: i64 = table::table.filter(table::slug.eq(slug.as_str())).select(table::id).first(tx.conn())?;
    diesel::insert_into(grace_values::table)
        .values((grace_values::tenant_id.eq(id), grace_values::since.eq(now), grace_values::days.eq(i64::from(settings.grace_days))))
        .execute(tx.conn())?;
    for (_, built_in, shown) in BuiltIn::ALL {
        diesel::insert_into(roles::table)
            .values((roles::tenant_id.eq(id), roles::name.eq(shown), roles::built_in.eq(built_in), roles::permissions.eq("")))
            .execute(tx.conn())?;
    }
    Ok(Some(TenantId::from_row(id)))
}

/// Saves a tenant's settings; a new value of the grace is remembered with its moment.
///
/// # Errors
/// The database is away.
pub fn save_settings(tx: &mut Tx<'_>, before: &Tenant, settings: &Settings) -> Result<(), StoreError> {
    let id = before.id.number();
    let text = serde_json::to_string(settings).map_err(|error| StoreError::Row(error.to_string()))?;
    diesel::update(table::table.find(id)).set(table::settings.eq(text)).execute(tx.conn())?;
    if before.settings.grace_days != settings.grace_days {
        let row = (grace_values::tenant_id.eq(id), grace_values::since.eq(micros(tx.now())), grace_values::days.eq(i64::from(settings.grace_days)));
        per_backend!(tx.conn(), |inner| diesel::insert_into(grace_values::table)
            .values(row)
            .on_conflict((grace_values::tenant_id, grace_values::since))
            .do_update()
            .set(grace_values::days.eq(i64::from(settings.grace_days)))
            .execute(inner))?;
    }
    tx.changed(Change::Tenant(before.id));
    Ok(())
}

/// Suspends a tenant, or brings it back.
///
/// # Errors
/// The database is away.
pub fn set_suspended(tx: &mut Tx<'_>, id: TenantId, suspended: bool) -> Result<(), StoreError> {
    let at = suspended.then(|| micros(tx.now()));
    diesel::update(table::table.find(id.number())).set(table::suspended_at.eq(at)).execute(tx.conn())?;
    tx.changed(Change::Tenant(id));
    Ok(())
}

/// Gives a tenant another name; its address stays.
///
/// # Errors
/// The database is away.
pub fn rename(tx: &mut Tx<'_>, id: TenantId, name: &str) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.number())).set(table::name.eq(name)).execute(tx.conn())?;
    tx.changed(Change::Tenant(id));
    Ok(())
}

/// Sets how many active persons may hold `keys.manage_own`; `None` is no bound.
///
/// # Errors
/// The database is away.
pub fn set_seats(tx: &mut Tx<'_>, id: TenantId, seats: Option<i64>) -> Result<(), StoreError> {
    diesel::update(table::table.find(id.number())).set(table::seats.eq(seats)).execute(tx.conn())?;
    tx.changed(Change::Tenant(id));
    Ok(())
}

/// The keys of a tenant that would stop, or work again, with its switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Working {
    /// Neither revoked, disabled nor expired.
    pub active: i64,
    /// Expired, but in the grace after it.
    pub in_grace: i64,
    /// Of both, used in the last hour.
    pub used_last_hour: i64,
}

/// How many keys of the tenant work at `now` but for its switch.
///
/// # Errors
/// The database is away.
pub fn working(db: &mut Db, tenant: &Tenant, now: Time) -> Result<Working, StoreError> {
    use super::schema::keys;
    let live = || keys::table.filter(keys::tenant_id.eq(tenant.id.number()).and(keys::revoked_at.is_null()).and(keys::disabled_at.is_null()));
    let active = live().filter(keys::expires_at.is_null().or(keys::expires_at.gt(micros(now)))).count().get_result(db.conn())?;
    let in_grace = in_grace(db, tenant, now)?.len();
    let used_last_hour = live().filter(keys::last_used_at.ge(micros(now - chrono::Duration::hours(1)))).count().get_result(db.conn())?;
    Ok(Working { active, in_grace: i64::try_from(in_grace).unwrap_or(i64::MAX), used_last_hour })
}

/// The expiries of the keys that work only by their grace, at `now`.
///
/// # Errors
/// The database is away.
pub fn in_grace(db: &mut Db, tenant: &Tenant, now: Time) -> Result<Vec<Time>, StoreError> {
    use super::schema::keys;
    let longest = now - crate::domain::time::days(90);
    let expiries: Vec<Option<i64>> = keys::table
        .filter(keys::tenant_id.eq(tenant.id.number()).and(keys::revoked_at.is_null()).and(keys::disabled_at.is_null()))
        .filter(keys::expires_at.le(micros(now)).and(keys::expires_at.gt(micros(longest))))
        .select(keys::expires_at)
        .load(db.conn())?;
    Ok(expiries.into_iter().flatten().map(moment).filter(|end| tenant.grace.end(*end, now) > now).collect())
}
