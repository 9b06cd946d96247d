//! Members, their console roles, and what they may reach.

use diesel::prelude::*;

use super::{
    Change, Db, StoreError, Tx, micros, moment,
    schema::{console_roles as roles, keepers, member_roles, members as table},
    tenants::{self, Tenant},
};
use crate::domain::{
    ids::{AccountId, ConsoleRoleId, MemberId, TenantId},
    key::{Actor, Key},
    mark::mark,
    permission::{BuiltIn, Permission, Permissions},
    tenant::Settings,
    time::Time,
};

/// What a caller may look at: one tenant, and whose keys. Made here only, from rows that belong to the caller, so that another
/// tenant's row is out of reach whatever a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    tenant: TenantId,
    owners: Option<Vec<i64>>,
}

impl Reach {
    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The members whose keys may be seen; `None` is every member's.
    pub fn owners(&self) -> Option<&[i64]> {
        self.owners.as_deref()
    }

    /// All keys of the tenant of a row: a mailed link, or a job that works through tenants.
    pub(super) fn of_row(tenant: TenantId) -> Self {
        Self { tenant, owners: None }
    }

    /// A whole tenant, for the installation owner.
    pub(super) fn whole(tenant: TenantId, _: &super::installation::InstallationReach) -> Self {
        Self { tenant, owners: None }
    }

    /// Narrowed to the keys of one member; still none that were out of reach.
    #[must_use]
    pub fn only(&self, owner: MemberId) -> Self {
        let within = self.owners.as_ref().is_none_or(|owners| owners.contains(&owner.0));
        Self { tenant: self.tenant, owners: Some(within.then_some(owner.0).into_iter().collect()) }
    }

    /// Narrowed to a member's own keys and those of the service accounts that they keep.
    #[must_use]
    pub fn own(acting: &Acting) -> Self {
        Self { tenant: acting.tenant.id, owners: Some(acting.own().map(|id| id.0).collect()) }
    }
}

/// A signed-in person as a member of one tenant, with everything that decides what they may do. Read anew for each request, so
/// a change of roles holds on the next one.
#[derive(Debug, Clone)]
pub struct Acting {
    /// The tenant.
    pub tenant: Tenant,
    /// The member.
    pub id: MemberId,
    /// The person's account.
    pub account: AccountId,
    /// The member's name.
    pub name: String,
    /// The member's address.
    pub email: String,
    /// What the console roles open, together.
    pub permissions: Permissions,
    /// The names of the console roles.
    pub role_names: Vec<String>,
    /// The service accounts that this member keeps.
    pub keeps: Vec<MemberId>,
    /// Every keeper of those, as service account and keeper.
    pub fellows: Vec<(MemberId, MemberId)>,
    /// The columns that the member chose for the grid, separated by spaces; empty for the default.
    pub grid_columns: String,
}

impl Acting {
    /// The member and the service accounts that they keep.
    pub fn own(&self) -> impl Iterator<Item = MemberId> + '_ {
        std::iter::once(self.id).chain(self.keeps.iter().copied())
    }

    /// Whether `owner`'s keys count as this member's own.
    pub fn owns(&self, owner: MemberId) -> bool {
        self.own().any(|id| id == owner)
    }

    /// Who disabled a key, where it was another than its owner. The keepers of a service account act as it.
    pub fn disabled_by_another<'a>(&self, key: &'a Key) -> Option<&'a Actor> {
        let as_owner = |member| member == key.owner || self.fellows.contains(&(key.owner, member));
        key.disabled_by.as_ref().filter(|actor| !actor.member.is_some_and(as_owner))
    }

    /// Whether the member may lift the disable of a key: one by another than its owner needs the right to stop any key.
    pub fn may_enable(&self, key: &Key) -> bool {
        if self.disabled_by_another(key).is_some() { self.may(Permission::KeysRevokeAny) } else { self.may_manage(key.owner) }
    }

    /// Whether the member holds a permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.has(permission)
    }

    /// Whether the member looks after the tenant: the one who may open it, to read, while it is suspended.
    pub fn is_admin(&self) -> bool {
        self.may(Permission::MembersManage) || self.may(Permission::SettingsManage)
    }

    /// What the member may look at.
    pub fn reach(&self) -> Reach {
        if self.may(Permission::KeysReadAny) { Reach { tenant: self.tenant.id, owners: None } } else { Reach::own(self) }
    }

    /// Whether the member may create, edit, roll, renew and enable keys of `owner`.
    pub fn may_manage(&self, owner: MemberId) -> bool {
        self.may(Permission::KeysManageAny) || (self.may(Permission::KeysManageOwn) && self.owns(owner))
    }

    /// Whether the member may disable, finish and revoke keys of `owner`: losing `keys.manage_own` takes this from nobody.
    pub fn may_stop(&self, owner: MemberId) -> bool {
        self.may(Permission::KeysRevokeAny) || self.owns(owner)
    }

    /// Whether the member may delete keys of `owner`.
    pub fn may_delete(&self, owner: MemberId) -> bool {
        self.may_manage(owner) || (self.may(Permission::KeysRevokeAny) && self.tenant.settings.admins_delete)
    }
}

/// The active member that an account is in the tenant at `slug`; `None` for a stranger, and for one who is suspended or removed.
///
/// # Errors
/// The database is away.
pub fn acting(db: &mut Db, slug: &str, account: AccountId) -> Result<Option<Acting>, StoreError> {
    type Row = (i64, String, String, String);
    let Some(tenant) = tenants::by_slug(db, slug)? else { return Ok(None) };
    let row: Option<Row> = table::table
        .filter(table::tenant_id.eq(tenant.id.number()).and(table::account_id.eq(account.0)))
        .filter(table::suspended_at.is_null().and(table::removed_at.is_null()))
        .select((table::id, table::name, table::email, table::grid_columns))
        .first(db.conn())
        .optional()?;
    let Some((id, name, email, grid_columns)) = row else { return Ok(None) };
    let (permissions, role_names) = permissions(db, &tenant, MemberId(id))?;
    let keeps: Vec<i64> = keepers::table
        .inner_join(table::table.on(table::tenant_id.eq(keepers::tenant_id).and(table::id.eq(keepers::service_id))))
        .filter(keepers::tenant_id.eq(tenant.id.number()).and(keepers::keeper_id.eq(id)).and(table::removed_at.is_null()))
        .select(keepers::service_id)
        .order(keepers::service_id)
        .load(db.conn())?;
    let fellows: Vec<(i64, i64)> = if keeps.is_empty() {
        Vec::new()
    } else {
        keepers::table
            .filter(keepers::tenant_id.eq(tenant.id.number()).and(keepers::service_id.eq_any(&keeps)))
            .select((keepers::service_id, keepers::keeper_id))
            .load(db.conn())?
    };
    Ok(Some(Acting {
        tenant,
        id: MemberId(id),
        account,
        name,
        email,
        permissions,
        role_names,
        keeps: keeps.into_iter().map(MemberId).collect(),
        fellows: fellows.into_iter().map(|(service, keeper)| (MemberId(service), MemberId(keeper))).collect(),
        grid_columns,
    }))
}

/// What a member's console roles open under the tenant's settings, and the roles' names.
///
/// # Errors
/// The database is away.
pub fn permissions(db: &mut Db, tenant: &Tenant, member: MemberId) -> Result<(Permissions, Vec<String>), StoreError> {
    let held: Vec<(String, Option<String>, String)> = member_roles::table
        .inner_join(roles::table.on(roles::tenant_id.eq(member_roles::tenant_id).and(roles::id.eq(member_roles::role_id))))
        .filter(member_roles::tenant_id.eq(tenant.id.number()).and(member_roles::member_id.eq(member.0)))
        .order(roles::id)
        .select((roles::name, roles::built_in, roles::permissions))
        .load(db.conn())?;
    let all = held.iter().fold(Permissions::NONE, |set, (_, built_in, names)| set.and(of_role(built_in.as_deref(), names, &tenant.settings)));
    Ok((all, held.into_iter().map(|(name, ..)| name).collect()))
}

pub(super) fn of_role(built_in: Option<&str>, names: &str, settings: &Settings) -> Permissions {
    BuiltIn::ALL
        .iter()
        .find(|(_, stored, _)| Some(*stored) == built_in)
        .map_or_else(|| Permissions::parse(names), |(role, ..)| role.permissions(settings))
}

/// A tenant that an account is an active member of, for the switch of tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The tenant.
    pub tenant: TenantId,
    /// Its address.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// The tenants that an account is an active member of, by name.
///
/// # Errors
/// The database is away.
pub fn memberships(db: &mut Db, account: AccountId) -> Result<Vec<Membership>, StoreError> {
    use super::schema::tenants;
    let rows: Vec<(i64, String, String)> = table::table
        .inner_join(tenants::table.on(tenants::id.eq(table::tenant_id)))
        .filter(table::account_id.eq(account.0).and(table::suspended_at.is_null()).and(table::removed_at.is_null()))
        .order(tenants::name)
        .select((tenants::id, tenants::slug, tenants::name))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(id, slug, name)| Membership { tenant: TenantId::from_row(id), slug, name }).collect())
}

/// A member as an owner of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The member.
    pub id: MemberId,
    /// The name.
    pub name: String,
    /// The address; a service account's is its contact.
    pub email: String,
    /// The account; `None` for a service account.
    pub account: Option<AccountId>,
    /// Its own limit of keys, where it has one.
    pub key_limit: Option<i64>,
    /// When the member was suspended, while they are.
    pub suspended_at: Option<Time>,
    /// When the member was removed.
    pub removed_at: Option<Time>,
}

impl Owner {
    /// A short mark of name, address and limit of keys, so that a form that showed others is noticed.
    pub fn mark(&self) -> String {
        mark([self.name.as_str(), &self.email, &self.key_limit.map(|limit| limit.to_string()).unwrap_or_default()])
    }

    /// Whether the member is neither suspended nor removed.
    pub fn is_active(&self) -> bool {
        self.suspended_at.is_none() && self.removed_at.is_none()
    }

    /// Whether this is no person.
    pub fn is_service(&self) -> bool {
        self.account.is_none()
    }
}

pub(super) type OwnerRow = (i64, String, String, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

pub(super) const OWNER: (table::id, table::name, table::email, table::account_id, table::key_limit, table::suspended_at, table::removed_at) =
    (table::id, table::name, table::email, table::account_id, table::key_limit, table::suspended_at, table::removed_at);

pub(super) fn owner((id, name, email, account, key_limit, suspended_at, removed_at): OwnerRow) -> Owner {
    Owner {
        id: MemberId(id),
        name,
        email,
        account: account.map(AccountId),
        key_limit,
        suspended_at: suspended_at.map(moment),
        removed_at: removed_at.map(moment),
    }
}

/// A member of the tenant, whatever their state.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, tenant: TenantId, id: MemberId) -> Result<Option<Owner>, StoreError> {
    let row: Option<OwnerRow> =
        table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(id.0))).select(OWNER).first(db.conn()).optional()?;
    Ok(row.map(owner))
}

/// The member that an account is in the tenant, whatever their state.
///
/// # Errors
/// The database is away.
pub fn of_account(db: &mut Db, tenant: TenantId, account: AccountId) -> Result<Option<Owner>, StoreError> {
    let row: Option<OwnerRow> =
        table::table.filter(table::tenant_id.eq(tenant.number()).and(table::account_id.eq(account.0))).select(OWNER).first(db.conn()).optional()?;
    Ok(row.map(owner))
}

/// Members of the tenant by their IDs, in no order.
///
/// # Errors
/// The database is away.
pub fn find_many(db: &mut Db, tenant: TenantId, ids: &[MemberId]) -> Result<Vec<Owner>, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<OwnerRow> = table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq_any(ids))).select(OWNER).load(db.conn())?;
    Ok(rows.into_iter().map(owner).collect())
}

/// The first `most` members who are not removed and whose name or address contains `text` (any, where it is empty), by name; of
/// all, or of those who are not suspended either.
///
/// # Errors
/// The database is away.
pub fn search(db: &mut Db, tenant: TenantId, text: &str, only_active: bool, most: usize) -> Result<Vec<Owner>, StoreError> {
    let mut query = table::table.filter(table::tenant_id.eq(tenant.number()).and(table::removed_at.is_null())).select(OWNER).into_boxed();
    if !text.is_empty() {
        query = query.filter(table::folded.like(containing(text)).escape('\\'));
    }
    if only_active {
        query = query.filter(table::suspended_at.is_null());
    }
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows: Vec<OwnerRow> = query.order((table::folded, table::id)).limit(most).load(db.conn())?;
    Ok(rows.into_iter().map(owner).collect())
}

/// The pattern that finds `text` in the folded column.
pub(super) fn containing(text: &str) -> String {
    format!("%{}%", text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// What the list of members is sorted by and filtered in.
pub(super) fn folded(name: &str, email: &str) -> String {
    format!("{name}\n{email}").to_lowercase()
}

/// Adds a member: a person with an account, or a service account without one.
///
/// # Errors
/// The database is away, or the account is a member already.
pub fn create(tx: &mut Tx<'_>, tenant: TenantId, account: Option<AccountId>, name: &str, email: &str) -> Result<MemberId, StoreError> {
    diesel::insert_into(table::table)
        .values((
            table::tenant_id.eq(tenant.number()),
            table::account_id.eq(account.map(|id| id.0)),
            table::name.eq(name),
            table::email.eq(email),
            table::created_at.eq(micros(tx.now())),
            table::folded.eq(folded(name, email)),
        ))
        .execute(tx.conn())?;
    let id: Option<i64> = table::table.filter(table::tenant_id.eq(tenant.number())).select(diesel::dsl::max(table::id)).first(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(MemberId(id.unwrap_or_default()))
}

/// A built-in console role of the tenant.
///
/// # Errors
/// The database is away.
pub fn built_in_role(db: &mut Db, tenant: TenantId, role: BuiltIn) -> Result<ConsoleRoleId, StoreError> {
    let stored = BuiltIn::ALL.iter().find(|(r, ..)| *r == role).map_or("", |(_, stored, _)| stored);
    let of_tenant = roles::tenant_id.eq(tenant.number()).and(roles::built_in.eq(stored));
    Ok(ConsoleRoleId(roles::table.filter(of_tenant).select(roles::id).first(db.conn())?))
}

/// Gives a member a built-in console role.
///
/// # Errors
/// The database is away, or the member holds it already.
pub fn give_built_in(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, role: BuiltIn) -> Result<(), StoreError> {
    let id = built_in_role(tx, tenant, role)?;
    diesel::insert_into(member_roles::table)
        .values((member_roles::tenant_id.eq(tenant.number()), member_roles::member_id.eq(member.0), member_roles::role_id.eq(id.0)))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Makes `keeper` manage the service account's keys as their own.
///
/// # Errors
/// The database is away, or they keep it already.
pub fn add_keeper(tx: &mut Tx<'_>, tenant: TenantId, service: MemberId, keeper: MemberId) -> Result<(), StoreError> {
    diesel::insert_into(keepers::table)
        .values((keepers::tenant_id.eq(tenant.number()), keepers::service_id.eq(service.0), keepers::keeper_id.eq(keeper.0)))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Suspends a member, or brings them back: their keys stop, or work again, at once.
///
/// # Errors
/// The database is away.
pub fn set_suspended(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, suspended: bool) -> Result<(), StoreError> {
    let at = suspended.then(|| micros(tx.now()));
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0))))
        .set(table::suspended_at.eq(at))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Remembers the columns that a member chose for the grid.
///
/// # Errors
/// The database is away.
pub fn set_grid_columns(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, columns: &str) -> Result<(), StoreError> {
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0))))
        .set(table::grid_columns.eq(columns))
        .execute(tx.conn())?;
    Ok(())
}

/// What is changed of a member's row. The owner's name and address stand in the rows of their keys as well, for sorting and
/// filtering; those follow.
///
/// # Errors
/// The database is away.
pub fn rename(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, name: &str, email: &str) -> Result<(), StoreError> {
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0))))
        .set((table::name.eq(name), table::email.eq(email), table::folded.eq(folded(name, email))))
        .execute(tx.conn())?;
    if let Some(owner) = find(tx, tenant, member)? {
        super::keys::follow_owner(tx, tenant, &owner)?;
    }
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Sets a service account's own limit of keys; `None` is the tenant's.
///
/// # Errors
/// The database is away.
pub fn set_key_limit(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, limit: Option<i64>) -> Result<(), StoreError> {
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0))))
        .set(table::key_limit.eq(limit))
        .execute(tx.conn())?;
    Ok(())
}

/// Shuts the tenant to the sessions that a member has now, until a new sign-in.
///
/// # Errors
/// The database is away.
pub fn shut(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId) -> Result<(), StoreError> {
    let now = micros(tx.now());
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0))))
        .set(table::shut_at.eq(now))
        .execute(tx.conn())?;
    Ok(())
}

/// Removes a member with their console roles, access and what they keep; the row stays for events and revoked keys.
///
/// # Errors
/// The database is away.
pub fn remove(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId) -> Result<(), StoreError> {
    use super::schema::{member_access_roles, member_resources};
    let (t, m, now) = (tenant.number(), member.0, micros(tx.now()));
    diesel::delete(member_roles::table.filter(member_roles::tenant_id.eq(t).and(member_roles::member_id.eq(m)))).execute(tx.conn())?;
    diesel::delete(member_access_roles::table.filter(member_access_roles::tenant_id.eq(t).and(member_access_roles::member_id.eq(m))))
        .execute(tx.conn())?;
    diesel::delete(member_resources::table.filter(member_resources::tenant_id.eq(t).and(member_resources::member_id.eq(m)))).execute(tx.conn())?;
    diesel::delete(keepers::table.filter(keepers::tenant_id.eq(t).and(keepers::keeper_id.eq(m).or(keepers::service_id.eq(m))))).execute(tx.conn())?;
    diesel::update(table::table.filter(table::tenant_id.eq(t).and(table::id.eq(m))))
        .set((table::removed_at.eq(now), table::all_resources.eq(false)))
        .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// Takes a removed person in again, under the same ID.
///
/// # Errors
/// The database is away.
pub fn take_in(tx: &mut Tx<'_>, tenant: TenantId, member: MemberId, name: &str, email: &str) -> Result<(), StoreError> {
    let never: Option<i64> = None;
    let now = micros(tx.now());
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0))))
        .set((
            table::removed_at.eq(never),
            table::suspended_at.eq(never),
            table::key_limit.eq(never),
            table::all_resources.eq(true),
            table::created_at.eq(now),
        ))
        .execute(tx.conn())?;
    rename(tx, tenant, member, name, email)
}

/// The members who keep a service account, by name.
///
/// # Errors
/// The database is away.
pub fn keepers(db: &mut Db, tenant: TenantId, service: MemberId) -> Result<Vec<Owner>, StoreError> {
    let rows: Vec<OwnerRow> = table::table
        .inner_join(keepers::table.on(keepers::tenant_id.eq(table::tenant_id).and(keepers::keeper_id.eq(table::id))))
        .filter(keepers::tenant_id.eq(tenant.number()).and(keepers::service_id.eq(service.0)))
        .order((table::folded, table::id))
        .select(OWNER)
        .load(db.conn())?;
    Ok(rows.into_iter().map(owner).collect())
}

/// Makes `keeper` a keeper no more.
///
/// # Errors
/// The database is away.
pub fn remove_keeper(tx: &mut Tx<'_>, tenant: TenantId, service: MemberId, keeper: MemberId) -> Result<(), StoreError> {
    diesel::delete(
        keepers::table.filter(keepers::tenant_id.eq(tenant.number()).and(keepers::service_id.eq(service.0)).and(keepers::keeper_id.eq(keeper.0))),
    )
    .execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    Ok(())
}

/// When a member joined.
///
/// # Errors
/// The database is away.
pub fn since(db: &mut Db, tenant: TenantId, member: MemberId) -> Result<Option<Time>, StoreError> {
    let at: Option<i64> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(member.0)))
        .select(table::created_at)
        .first(db.conn())
        .optional()?;
    Ok(at.map(moment))
}
