//! Invitations: a link of one use, for 72 hours, that says what its bearer becomes in the tenant.

use serde_json::json;

use super::{
    By,
    credentials::{NewPassword, link_hash},
    mail,
    members::{MemberError, acting_now, check_grants, role_names, within_bounds},
    sign_in::{self, Opened},
};
use crate::{
    chance,
    domain::{
        access::ResourceSet,
        event::{Action, EventActor},
        ids::{AccessRoleId, AccountId, ConsoleRoleId, MemberId, TenantId},
        names::{EmailAddress, ResourcePattern},
        permission::Permission,
        time::Time,
        token::{Purpose, Token, base62, fresh_id},
    },
    store::{
        Db, StoreError, Tx, access,
        accounts::{self, Account},
        console_roles, events,
        links::{self, NewInvitation},
        members::{self, Acting},
        resources,
        tenants::{self, Tenant},
    },
};

/// How long an invitation works.
const HOURS: i64 = 72;

/// Why somebody did not join, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum JoinError {
    #[error("This invitation does not work any more.")]
    Dead,
    #[error("No account was made. If you have one under this address, sign in and open this link again.")]
    NotMade,
    #[error("This invitation is for another address than that of the account that is signed in.")]
    OtherAccount,
    #[error("This account can join no second tenant yet: no link that was mailed to its address has been opened.")]
    SecondTenant,
    #[error("You are a member of this tenant already.")]
    AlreadyMember,
    #[error("You are suspended in this tenant. Ask one of its admins to bring you back.")]
    Suspended,
    #[error("The installation owner is a member of no tenant.")]
    Owner,
    #[error("This tenant has no seat left. Ask whoever invited you.")]
    Seats,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MemberError> for JoinError {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Store(error) => Self::Store(error),
            MemberError::Seats { .. } => Self::Seats,
            _ => Self::Dead,
        }
    }
}

/// What an invitation gives, as it is written down.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Offer {
    /// What the list of invitations names it by; the links of one invitation, shown and mailed, share it.
    #[serde(default)]
    pub id: String,
    /// Who is invited.
    pub email: EmailAddress,
    /// The console roles.
    pub roles: Vec<ConsoleRoleId>,
    /// The access roles.
    #[serde(default)]
    pub access_roles: Vec<AccessRoleId>,
    /// The chosen resources; `None` is all.
    #[serde(default)]
    pub resources: Option<std::collections::BTreeSet<ResourcePattern>>,
    /// The account of who invited; `None` for the installation owner.
    #[serde(default)]
    pub by: Option<AccountId>,
    /// The name of who invited.
    #[serde(default)]
    pub by_name: String,
    /// Whether the installation owner invites whoever shall be Tenant admin where there is none.
    #[serde(default)]
    pub first_admin: bool,
    /// Whether this link went by mail, so that whoever opens it reads that address.
    #[serde(default)]
    pub mailed: bool,
}

fn read(details: &str) -> Result<Offer, StoreError> {
    serde_json::from_str(details).map_err(|error| StoreError::Row(format!("an invitation: {error}")))
}

/// What a person fills in to invite.
#[derive(Debug, Clone)]
pub struct InviteForm {
    /// Who is invited.
    pub email: EmailAddress,
    /// The console roles.
    pub roles: Vec<ConsoleRoleId>,
    /// The access roles; giving them needs `access.manage`.
    pub access_roles: Vec<AccessRoleId>,
    /// All resources, or chosen ones, which needs `access.manage` too.
    pub resources: ResourceSet,
}

/// Invites an address; an earlier invitation of it to this tenant dies. The token is in the answer alone, and the answer does not
/// depend on whether the address has an account.
///
/// # Errors
/// See [`MemberError`].
pub fn invite(tx: &mut Tx<'_>, by: &By, form: &InviteForm) -> Result<(Token, Time), MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    check_grants(tx, &acting, &form.roles)?;
    if (!form.access_roles.is_empty() || form.resources != ResourceSet::All) && !acting.may(Permission::AccessManage) {
        return Err(MemberError::NotAllowed);
    }
    let tenant = &acting.tenant;
    let takes_seat =
        console_roles::all(tx, tenant)?.iter().any(|role| form.roles.contains(&role.id) && role.permissions.has(Permission::KeysManageOwn));
    if let Some(seats) = tenant.seats
        && takes_seat
        && console_roles::seats_taken(tx, tenant)? >= seats
    {
        return Err(MemberError::Seats { seats });
    }
    for role in &form.access_roles {
        access::role(tx, tenant.id, *role)?.ok_or(MemberError::NoSuchAccessRole)?;
    }
    for pattern in form.resources.chosen().into_iter().flatten() {
        let known = match pattern {
            ResourcePattern::Kind(kind) => resources::has_kind(tx, tenant.id, kind)?,
            ResourcePattern::One(resource) => resources::has(tx, tenant.id, resource)?,
        };
        if !known {
            return Err(MemberError::NoSuchResource(pattern.clone()));
        }
    }
    if !mail::may_invite(tx, tenant.id, &form.email)? {
        return Err(MemberError::InvitedTooOften);
    }
    let now = tx.now();
    links::end_invitations_of(tx, tenant.id, &form.email)?;
    let offer = Offer {
        id: base62(16, &mut chance::fill),
        email: form.email.clone(),
        roles: form.roles.clone(),
        access_roles: form.access_roles.clone(),
        resources: form.resources.chosen().cloned(),
        by: Some(acting.account),
        by_name: acting.name.clone(),
        first_admin: false,
        mailed: false,
    };
    let until = now + chrono::Duration::hours(HOURS);
    let token = link(tx, tenant, &offer, until)?;
    mail_too(tx, tenant, &offer, until)?;
    let details = json!({ "email": offer.email, "roles": role_names(tx, tenant, &offer.roles)?, "until": until });
    events::add(tx, tenant.id, &by.event(Action::MemberInvited, ("invitation", &offer.id, offer.email.as_str()), details))?;
    Ok((token, until))
}

/// Makes one link of an invitation.
fn link(tx: &mut Tx<'_>, tenant: &Tenant, offer: &Offer, until: Time) -> Result<Token, StoreError> {
    let token = Token::make(Purpose::Invite, fresh_id(&mut chance::fill), &mut chance::fill);
    let hash = link_hash(tx.secrets(), Purpose::Invite, token.reveal());
    let details = serde_json::to_string(offer).map_err(|error| StoreError::Row(error.to_string()))?;
    links::invite(tx, &hash, tenant.id, &NewInvitation { id: &offer.id, email: &offer.email, details: &details }, until)?;
    Ok(token)
}

/// Mails the invitation, with a link of its own: who opens it has opened a mailed link.
fn mail_too(tx: &mut Tx<'_>, tenant: &Tenant, offer: &Offer, until: Time) -> Result<(), StoreError> {
    let Some(hash) = mail::invite(tx, tenant.id, &offer.email, &offer.by_name, until)? else { return Ok(()) };
    let mailed = Offer { mailed: true, ..offer.clone() };
    let details = serde_json::to_string(&mailed).map_err(|error| StoreError::Row(error.to_string()))?;
    links::invite(tx, &hash, tenant.id, &NewInvitation { id: &offer.id, email: &offer.email, details: &details }, until)
}

/// The invitations of a tenant that wait and whose address contains `text`, newest first: `most` of them after the first `skip`.
///
/// # Errors
/// The database is away.
pub fn waiting(db: &mut Db, tenant: &Tenant, text: &str, range: (i64, i64), now: Time) -> Result<Vec<(Offer, Time)>, StoreError> {
    let found = links::invitations(db, tenant.id, text, range, now)?;
    found.into_iter().map(|invitation| Ok((read(&invitation.details)?, invitation.expires_at))).collect()
}

/// Whether an address is invited to any tenant.
///
/// # Errors
/// The database is away.
pub fn waits_for(tx: &mut Tx<'_>, canonical: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    links::is_invited(tx, canonical, now)
}

/// Withdraws an invitation that waits; `false` where there is none of this name.
///
/// # Errors
/// See [`MemberError`].
pub fn withdraw(tx: &mut Tx<'_>, by: &By, id: &str) -> Result<bool, MemberError> {
    let acting = acting_now(tx, by, Permission::MembersManage)?;
    let Some(offer) = end(tx, acting.tenant.id, id)? else { return Ok(false) };
    let details = json!({ "withdrawn": true });
    events::add(tx, acting.tenant.id, &by.event(Action::MemberInvited, ("invitation", &offer.id, offer.email.as_str()), details))?;
    Ok(true)
}

/// Uses up every link of an invitation; `None` where none waits.
fn end(tx: &mut Tx<'_>, tenant: TenantId, id: &str) -> Result<Option<Offer>, StoreError> {
    links::end_invitation(tx, tenant, id)?.as_deref().map(read).transpose()
}

/// An invitation that can be accepted now.
#[derive(Debug, Clone)]
pub struct Open {
    /// The tenant.
    pub tenant: Tenant,
    /// What it gives.
    pub offer: Offer,
    /// The names of the console roles.
    pub role_names: Vec<String>,
    /// Until when it works.
    pub expires_at: Time,
}

/// The invitation of a link's keyed hash. `None` where it is used, late or withdrawn, and where whoever made it could not make it
/// now: they left, or lost what they gave.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, hash: &[u8; 32], now: Time) -> Result<Option<Open>, StoreError> {
    let Some(invitation) = links::invitation(db, hash, now)? else { return Ok(None) };
    let (tenant, offer) = (tenants::get(db, invitation.tenant)?, read(&invitation.details)?);
    if tenant.suspended_at.is_some() {
        return Ok(None);
    }
    let holds = match offer.by {
        Some(account) => match members::acting(db, &tenant.slug, account)? {
            Some(inviter) => may_still(db, &inviter, &offer)?,
            None => false,
        },
        None => offer.first_admin && console_roles::admins(db, tenant.id)? == 0,
    };
    if !holds {
        return Ok(None);
    }
    let role_names = role_names(db, &tenant, &offer.roles)?;
    Ok(Some(Open { tenant, offer, role_names, expires_at: invitation.expires_at }))
}

fn may_still(db: &mut Db, inviter: &Acting, offer: &Offer) -> Result<bool, StoreError> {
    let gives_access = !offer.access_roles.is_empty() || offer.resources.is_some();
    if !inviter.may(Permission::MembersManage) || (gives_access && !inviter.may(Permission::AccessManage)) {
        return Ok(false);
    }
    // A role that is gone is left out; one that has grown past its giver is not given.
    let all = console_roles::all(db, &inviter.tenant)?;
    let left: Vec<ConsoleRoleId> = offer.roles.iter().filter(|id| all.iter().any(|role| role.id == **id)).copied().collect();
    match check_grants(db, inviter, &left) {
        Ok(()) => Ok(true),
        Err(MemberError::Store(error)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Takes the link for this transaction: of two at once one goes on.
fn take(tx: &mut Tx<'_>, token: &str) -> Result<Open, JoinError> {
    let hash = link_hash(tx.secrets(), Purpose::Invite, token);
    let now = tx.now();
    let invitation = links::invitation(tx, &hash, now)?.ok_or(JoinError::Dead)?;
    tx.lock(invitation.tenant)?;
    let open = find(tx, &hash, now)?.ok_or(JoinError::Dead)?;
    if !links::use_up(tx, Purpose::Invite, &hash)? {
        return Err(JoinError::Dead);
    }
    end(tx, open.tenant.id, &open.offer.id)?;
    Ok(open)
}

/// Makes the account that was invited, lets it join, and signs it in. With an error nothing is made, and the link still works.
///
/// # Errors
/// See [`JoinError`].
pub fn join_new(tx: &mut Tx<'_>, by: &By, token: &str, name: &str, password: &NewPassword) -> Result<(Opened, Tenant), JoinError> {
    let open = take(tx, token)?;
    let Some(id) = accounts::create(tx, &open.offer.email, name, false)? else { return Err(JoinError::NotMade) };
    password.keep(tx, id)?;
    if open.offer.mailed {
        accounts::mail_opened(tx, id)?;
    }
    let account = accounts::get(tx, id)?;
    join(tx, by, &open, &account)?;
    Ok((sign_in::renew(tx, by, &account)?, open.tenant))
}

/// Lets the account that is signed in join.
///
/// # Errors
/// See [`JoinError`].
pub fn join_as(tx: &mut Tx<'_>, by: &By, token: &str, account: &Account) -> Result<Tenant, JoinError> {
    // The account before the tenant, as in what people do to their own accounts.
    accounts::hold(tx, account.id)?;
    let open = take(tx, token)?;
    if account.email_canonical != open.offer.email.canonical() {
        return Err(JoinError::OtherAccount);
    }
    if account.installation_owner {
        return Err(JoinError::Owner);
    }
    if open.offer.mailed {
        accounts::mail_opened(tx, account.id)?;
    }
    let others = accounts::members_of(tx, account.id)?.into_iter().any(|(tenant, _)| tenant != open.tenant.id);
    if others && !accounts::has_opened_mail(tx, account.id)? {
        return Err(JoinError::SecondTenant);
    }
    join(tx, by, &open, account)?;
    Ok(open.tenant)
}

fn join(tx: &mut Tx<'_>, by: &By, open: &Open, account: &Account) -> Result<MemberId, JoinError> {
    let (tenant, offer) = (&open.tenant, &open.offer);
    let all = console_roles::all(tx, tenant)?;
    let roles: Vec<ConsoleRoleId> = all.iter().map(|role| role.id).filter(|id| offer.roles.contains(id)).collect();
    let before = members::of_account(tx, tenant.id, account.id)?;
    match &before {
        Some(member) if member.is_active() => return Err(JoinError::AlreadyMember),
        Some(member) if member.removed_at.is_none() => return Err(JoinError::Suspended),
        _ => {}
    }
    let member = within_bounds(tx, tenant, |tx| {
        let id = match before {
            Some(member) => {
                members::take_in(tx, tenant.id, member.id, &account.name, &account.email)?;
                member.id
            }
            None => members::create(tx, tenant.id, Some(account.id), &account.name, &account.email)?,
        };
        console_roles::set(tx, tenant.id, id, &roles)?;
        Ok::<_, JoinError>(id)
    })?;
    for role in &offer.access_roles {
        if access::role(tx, tenant.id, *role)?.is_some() {
            access::give_role(tx, tenant.id, member, *role)?;
        }
    }
    if let Some(chosen) = &offer.resources {
        let mut left = chosen.clone();
        for pattern in chosen {
            // What was removed meanwhile would otherwise come back with this member alone.
            if let ResourcePattern::One(resource) = pattern
                && !resources::has(tx, tenant.id, resource)?
            {
                left.remove(pattern);
            }
        }
        access::set_resources(tx, tenant.id, member, &ResourceSet::Chosen(left))?;
    }
    let details = json!({ "email": account.email, "invited_by": offer.by_name, "roles": open.role_names });
    let mut event = by.event(Action::MemberJoined, ("member", &member.to_string(), &account.name), details);
    event.actor = EventActor { kind: "member".into(), id: member.to_string(), name: account.name.clone() };
    events::add(tx, tenant.id, &event)?;
    Ok(member)
}
