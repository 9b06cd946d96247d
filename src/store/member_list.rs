//! The list of members: a filter, and keyset pages by name.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{
    Db, StoreError,
    members::{self, Owner},
    moment,
    schema::{accounts, console_roles, events, keys, member_roles, members as table},
};
use crate::domain::{
    event::Action,
    ids::{ConsoleRoleId, MemberId, TenantId},
    time::Time,
};

/// Which members are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// All.
    #[default]
    All,
    /// Persons.
    People,
    /// Service accounts.
    Services,
}

/// What the list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Part of a name or address; empty for any.
    pub text: String,
    /// Persons or service accounts.
    pub kind: Kind,
    /// Who holds this console role.
    pub role: Option<ConsoleRoleId>,
    /// Suspended ones, or active ones.
    pub suspended: Option<bool>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// After this member.
    After(MemberId),
    /// It ends before this member.
    Before(MemberId),
}

/// A member as the list shows one.
#[derive(Debug, Clone)]
pub struct Line {
    /// The member.
    pub member: Owner,
    /// The names of the console roles, and whether each is Tenant admin.
    pub roles: Vec<(String, bool)>,
    /// Whether two-step sign-in is set up.
    pub totp: bool,
    /// How many keys are not revoked.
    pub keys: i64,
    /// The last sign-in that the events tell of.
    pub signed_in: Option<Time>,
}

/// One page.
#[derive(Debug, Clone)]
pub struct Page {
    /// The members, by name.
    pub lines: Vec<Line>,
    /// Whether there are some before.
    pub before: bool,
    /// Whether there are more.
    pub after: bool,
}

/// How many members, persons and service accounts there are.
///
/// # Errors
/// The database is away.
pub fn counts(db: &mut Db, tenant: TenantId) -> Result<(i64, i64, i64), StoreError> {
    let here = || table::table.filter(table::tenant_id.eq(tenant.number()).and(table::removed_at.is_null()));
    let all: i64 = here().count().get_result(db.conn())?;
    let services: i64 = here().filter(table::account_id.is_null()).count().get_result(db.conn())?;
    Ok((all, all - services, services))
}

/// A page of at most `size` members.
///
/// # Errors
/// The database is away.
pub fn page(db: &mut Db, tenant: TenantId, filter: &Filter, from: Option<From>, size: usize) -> Result<Page, StoreError> {
    let mut query = table::table.filter(table::tenant_id.eq(tenant.number()).and(table::removed_at.is_null())).select(members::OWNER).into_boxed();
    if !filter.text.is_empty() {
        query = query.filter(table::folded.like(members::containing(&filter.text)).escape('\\'));
    }
    query = match filter.kind {
        Kind::All => query,
        Kind::People => query.filter(table::account_id.is_not_null()),
        Kind::Services => query.filter(table::account_id.is_null()),
    };
    if let Some(role) = filter.role {
        let with = member_roles::table
            .filter(member_roles::tenant_id.eq(tenant.number()).and(member_roles::role_id.eq(role.0)))
            .select(member_roles::member_id);
        query = query.filter(table::id.eq_any(with));
    }
    query = match filter.suspended {
        None => query,
        Some(true) => query.filter(table::suspended_at.is_not_null()),
        Some(false) => query.filter(table::suspended_at.is_null()),
    };
    let back = matches!(from, Some(From::Before(_)));
    let mut anchored = false;
    if let Some(From::After(id) | From::Before(id)) = from {
        let at: Option<String> =
            table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(id.0))).select(table::folded).first(db.conn()).optional()?;
        if let Some(folded) = at {
            anchored = true;
            query = if back {
                query.filter(table::folded.lt(folded.clone()).or(table::folded.eq(folded).and(table::id.lt(id.0))))
            } else {
                query.filter(table::folded.gt(folded.clone()).or(table::folded.eq(folded).and(table::id.gt(id.0))))
            };
        }
    }
    query = if back { query.order((table::folded.desc(), table::id.desc())) } else { query.order((table::folded.asc(), table::id.asc())) };
    let mut rows: Vec<members::OwnerRow> = query.limit(i64::try_from(size + 1).unwrap_or(i64::MAX)).load(db.conn())?;
    let more = rows.len() > size;
    rows.truncate(size);
    if back {
        rows.reverse();
    }
    let owners: Vec<Owner> = rows.into_iter().map(members::owner).collect();
    let lines = lines(db, tenant, owners)?;
    Ok(Page { lines, before: if back { more } else { anchored }, after: if back { anchored } else { more } })
}

fn lines(db: &mut Db, tenant: TenantId, owners: Vec<Owner>) -> Result<Vec<Line>, StoreError> {
    let ids: Vec<i64> = owners.iter().map(|owner| owner.id.0).collect();
    let held: Vec<(i64, String, Option<String>)> = member_roles::table
        .inner_join(console_roles::table.on(console_roles::tenant_id.eq(member_roles::tenant_id).and(console_roles::id.eq(member_roles::role_id))))
        .filter(member_roles::tenant_id.eq(tenant.number()).and(member_roles::member_id.eq_any(&ids)))
        .order(console_roles::id)
        .select((member_roles::member_id, console_roles::name, console_roles::built_in))
        .load(db.conn())?;
    let accounts: Vec<i64> = owners.iter().filter_map(|owner| owner.account).map(|id| id.0).collect();
    let with_totp: Vec<i64> =
        accounts::table.filter(accounts::id.eq_any(accounts).and(accounts::totp_secret.is_not_null())).select(accounts::id).load(db.conn())?;
    let counted: Vec<(i64, i64)> = keys::table
        .filter(keys::tenant_id.eq(tenant.number()).and(keys::owner_id.eq_any(&ids)).and(keys::revoked_at.is_null()))
        .group_by(keys::owner_id)
        .select((keys::owner_id, diesel::dsl::count_star()))
        .load(db.conn())?;
    let counted: HashMap<i64, i64> = counted.into_iter().collect();
    owners
        .into_iter()
        .map(|member| {
            let id = member.id.0;
            Ok(Line {
                roles: held
                    .iter()
                    .filter(|(of, ..)| *of == id)
                    .map(|(_, name, kind)| (name.clone(), kind.as_deref() == Some("tenant_admin")))
                    .collect(),
                totp: member.account.is_some_and(|account| with_totp.contains(&account.0)),
                keys: counted.get(&id).copied().unwrap_or_default(),
                signed_in: if member.is_service() { None } else { last_sign_in(db, tenant, member.id)? },
                member,
            })
        })
        .collect()
}

/// When a member last signed in, as the tenant's events tell.
///
/// # Errors
/// The database is away.
pub fn last_sign_in(db: &mut Db, tenant: TenantId, member: MemberId) -> Result<Option<Time>, StoreError> {
    let at: Option<i64> = events::table
        .filter(events::tenant_id.eq(tenant.number()).and(events::actor_kind.eq("member")).and(events::actor_id.eq(member.to_string())))
        .filter(events::action.eq(Action::SignedIn.word()))
        .order((events::at.desc(), events::number.desc()))
        .select(events::at)
        .first(db.conn())
        .optional()?;
    Ok(at.map(moment))
}
