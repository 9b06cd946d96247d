//! What the installation owner sees: each tenant in numbers, and the keys of all of them. Everything else of a tenant is out of
//! its reach. A query across tenants asks each of them by its own [`Reach`], so no query of this module is without a tenant.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{
    Db, StoreError,
    accounts::{self, Account},
    grid::{self, Count, Counts, Cursor, Filter, View},
    keys,
    members::{self, Reach},
    schema::{console_roles as roles, keys as key_rows, member_roles, members as people, tenants as tenant_rows},
    tenants::{self, Tenant},
};
use crate::domain::{
    ids::{AccountId, KeyId, TenantId},
    key::Key,
    permission::{BuiltIn, Permission, Permissions},
    time::Time,
};

/// The right to look at the keys of every tenant. It is made from the account of the installation owner alone.
#[derive(Debug, Clone)]
pub struct InstallationReach(());

impl InstallationReach {
    /// The installation owner's; `None` for any other account.
    pub fn of(account: &Account) -> Option<Self> {
        account.installation_owner.then_some(Self(()))
    }

    fn tenant(&self, tenant: TenantId) -> Reach {
        Reach::whole(tenant, self)
    }
}

/// A tenant in numbers.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// The tenant.
    pub tenant: Tenant,
    /// Its active Tenant admins, by name.
    pub admins: Vec<String>,
    /// How many members it has who are not removed, service accounts too.
    pub members: i64,
    /// How many active persons hold `keys.manage_own`.
    pub seats_used: i64,
    /// Its keys by status.
    pub keys: Counts,
}

/// One page of tenants, by name.
#[derive(Debug, Clone)]
pub struct TenantsPage {
    /// The tenants.
    pub tenants: Vec<Numbers>,
    /// How many come before.
    pub before: usize,
    /// How many match.
    pub total: usize,
    /// The address of the first tenant of the page before.
    pub previous: Option<String>,
    /// The address of the first tenant of the next page.
    pub next: Option<String>,
    /// All keys of the installation.
    pub keys: Count,
}

/// The tenants whose name or address contains `text`, beginning at the one with the address `at`.
///
/// # Errors
/// The database is away.
pub fn page(db: &mut Db, reach: &InstallationReach, text: &str, at: &str, size: usize, now: Time) -> Result<TenantsPage, StoreError> {
    let mut all: Vec<(String, String)> = tenant_rows::table.select((tenant_rows::slug, tenant_rows::name)).load(db.conn())?;
    let folded = text.trim().to_lowercase();
    all.retain(|(slug, name)| slug.contains(&folded) || name.to_lowercase().contains(&folded));
    all.sort_by_cached_key(|(slug, name)| (name.to_lowercase(), slug.clone()));
    let before = all.iter().position(|(slug, _)| slug == at).unwrap_or(0);
    let mut shown = Vec::new();
    for (slug, _) in all.iter().skip(before).take(size) {
        shown.extend(numbers(db, reach, slug, now)?);
    }
    let slug_at = |place: usize| all.get(place).map(|(slug, _)| slug.clone());
    let most = i64::try_from(grid::MOST).unwrap_or(i64::MAX) + 1;
    let seqs: Vec<i64> = key_rows::table.select(key_rows::seq).limit(most).load(db.conn())?;
    Ok(TenantsPage {
        tenants: shown,
        before,
        total: all.len(),
        previous: (before > 0).then(|| slug_at(before.saturating_sub(size))).flatten(),
        next: slug_at(before + size),
        keys: Count::capped(seqs.len()),
    })
}

/// One tenant in numbers.
///
/// # Errors
/// The database is away.
pub fn numbers(db: &mut Db, reach: &InstallationReach, slug: &str, now: Time) -> Result<Option<Numbers>, StoreError> {
    let Some(tenant) = tenants::by_slug(db, slug)? else { return Ok(None) };
    let id = tenant.id.number();
    let members = people::table.filter(people::tenant_id.eq(id).and(people::removed_at.is_null())).count().get_result(db.conn())?;
    let (admins, seats_used) = holders(db, &tenant)?;
    let view = View { reach: &reach.tenant(tenant.id), filter: &Filter::default(), now, soon: tenant.settings.expiring_soon() };
    let keys = grid::counts(db, &view)?;
    Ok(Some(Numbers { tenant, admins, members, seats_used, keys }))
}

/// The names of the active Tenant admins, and how many active persons hold `keys.manage_own`.
///
/// # Errors
/// The database is away.
pub fn holders(db: &mut Db, tenant: &Tenant) -> Result<(Vec<String>, i64), StoreError> {
    type Row = (i64, String, Option<String>, String);
    let rows: Vec<Row> = people::table
        .inner_join(member_roles::table.on(member_roles::tenant_id.eq(people::tenant_id).and(member_roles::member_id.eq(people::id))))
        .inner_join(roles::table.on(roles::tenant_id.eq(member_roles::tenant_id).and(roles::id.eq(member_roles::role_id))))
        .filter(people::tenant_id.eq(tenant.id.number()).and(people::account_id.is_not_null()))
        .filter(people::suspended_at.is_null().and(people::removed_at.is_null()))
        .order((people::name, people::id))
        .select((people::id, people::name, roles::built_in, roles::permissions))
        .load(db.conn())?;
    let is_admin = |built_in: Option<&str>| BuiltIn::ALL.iter().any(|(role, word, _)| *role == BuiltIn::TenantAdmin && Some(*word) == built_in);
    let mut admins = Vec::new();
    let mut all: HashMap<i64, Permissions> = HashMap::new();
    for (id, name, built_in, names) in rows {
        let set = members::of_role(built_in.as_deref(), &names, &tenant.settings);
        let held = all.entry(id).or_default();
        *held = held.and(set);
        if is_admin(built_in.as_deref()) {
            admins.push(name);
        }
    }
    let seats = all.values().filter(|held| held.has(Permission::KeysManageOwn)).count();
    Ok((admins, i64::try_from(seats).unwrap_or(i64::MAX)))
}

/// The tenants that have a key, by name: those that the grid can be narrowed to.
///
/// # Errors
/// The database is away.
pub fn with_keys(db: &mut Db, _: &InstallationReach) -> Result<Vec<Tenant>, StoreError> {
    let mut all = tenants::all(db)?;
    let having: Vec<i64> = tenant_rows::table
        .filter(diesel::dsl::exists(key_rows::table.filter(key_rows::tenant_id.eq(tenant_rows::id))))
        .select(tenant_rows::id)
        .load(db.conn())?;
    all.retain(|tenant| having.contains(&tenant.id.number()));
    all.sort_by_cached_key(|tenant| (tenant.name.to_lowercase(), tenant.slug.clone()));
    Ok(all)
}

/// One page of the keys of several tenants, newest first.
#[derive(Debug, Clone)]
pub struct KeysPage {
    /// The keys.
    pub keys: Vec<Key>,
    /// How many there are by status, whatever status is shown.
    pub counts: Counts,
    /// How many keys come before this page.
    pub before: u64,
    /// Where the next page begins.
    pub next: Option<Cursor>,
    /// Where the page before ends.
    pub previous: Option<Cursor>,
}

/// The keys of these tenants that match a filter, newest first.
///
/// # Errors
/// The database is away.
pub fn keys(
    db: &mut Db,
    reach: &InstallationReach,
    tenants: &[Tenant],
    filter: &Filter,
    at: Option<&Cursor>,
    size: usize,
    now: Time,
) -> Result<KeysPage, StoreError> {
    let forward = at.is_none_or(Cursor::is_forward);
    let after = at.map(Cursor::seq);
    let mut found: Vec<(i64, usize)> = Vec::new();
    let mut counts = Counts::default();
    for (place, tenant) in tenants.iter().enumerate() {
        let view = View { reach: &reach.tenant(tenant.id), filter, now, soon: tenant.settings.expiring_soon() };
        let (seqs, of_tenant) = grid::nearest(db, &view, after, forward, size + 1)?;
        found.extend(seqs.into_iter().map(|seq| (seq, place)));
        for (sum, count) in counts.iter_mut().zip(of_tenant) {
            *sum = sum.plus(count);
        }
    }
    found.sort_unstable();
    if forward {
        found.reverse();
    }
    let has_more = found.len() > size;
    found.truncate(size);
    if !forward {
        found.reverse();
    }
    // Where nothing is left at a place, or the beginning is reached on the way back, the first page is shown whole.
    if at.is_some() && (found.is_empty() || (!forward && !has_more && found.len() < size)) {
        return keys(db, reach, tenants, filter, None, size, now);
    }
    let (has_before, has_after) = if forward { (at.is_some(), has_more) } else { (has_more, true) };
    let before = if has_before { at.map_or(0, Cursor::before) } else { 0 };
    let count = u64::try_from(found.len()).unwrap_or(0);
    let step = u64::try_from(size).unwrap_or(0);
    let next = found.last().filter(|_| has_after).map(|(seq, _)| Cursor::at_seq(true, before + count, *seq));
    let previous = found.first().filter(|_| has_before).map(|(seq, _)| Cursor::at_seq(false, before.saturating_sub(step), *seq));
    let mut rows = HashMap::with_capacity(found.len());
    for (place, tenant) in tenants.iter().enumerate() {
        let seqs: Vec<i64> = found.iter().filter(|(_, of)| *of == place).map(|(seq, _)| *seq).collect();
        if !seqs.is_empty() {
            rows.extend(grid::keys(db, &reach.tenant(tenant.id), &seqs)?.into_iter().map(|key| (key.seq, key)));
        }
    }
    let keys = found.iter().filter_map(|(seq, _)| rows.remove(seq)).collect();
    Ok(KeysPage { keys, counts, before, next, previous })
}

/// A key of any tenant, with its tenant.
///
/// # Errors
/// The database is away.
pub fn find_key(db: &mut Db, reach: &InstallationReach, id: KeyId) -> Result<Option<(Tenant, Key)>, StoreError> {
    let of: Option<i64> = key_rows::table.filter(key_rows::id.eq(id.as_str())).select(key_rows::tenant_id).first(db.conn()).optional()?;
    let Some(of) = of else { return Ok(None) };
    let tenant = tenants::get(db, TenantId::from_row(of))?;
    let key = keys::find(db, &reach.tenant(tenant.id), id)?;
    Ok(key.map(|key| (tenant, key)))
}

/// The account at an address in its canonical spelling, with how many tenants it is in.
///
/// # Errors
/// The database is away.
pub fn account_by_email(db: &mut Db, _: &InstallationReach, canonical: &str) -> Result<Option<(Account, usize)>, StoreError> {
    let Some(account) = accounts::by_email(db, canonical)? else { return Ok(None) };
    let tenants = accounts::members_of(db, account.id)?.len();
    Ok(Some((account, tenants)))
}

/// An account, where there is one of this ID.
///
/// # Errors
/// The database is away.
pub fn account(db: &mut Db, _: &InstallationReach, id: AccountId) -> Result<Option<Account>, StoreError> {
    accounts::find(db, id)
}
