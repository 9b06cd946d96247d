//! Mails that follow from what was done, and what a mail tells of, gathered when it is sent or looked at.

use super::{
    By, Who,
    credentials::{self, link_hash},
    extend,
};
use crate::{
    domain::{
        event::{Action, Event},
        ids::{MailId, NoticeId, TenantId},
        key::Key,
        mail::{Contents, KeyName, Line, Mail, Role, SecurityChange},
        names::EmailAddress,
        notice::{Stage, still_true},
        time::{Time, date_time},
        token::{Purpose, Token},
    },
    secrets::Secrets,
    store::{
        Db, StoreError, Tx,
        accounts::{self, Account},
        events,
        extensions::{self, Linked},
        links,
        members::{self, Owner},
        outbox::{self, NewMail, Notice, Row, State, To},
        tenants::{self, Tenant},
    },
};

/// What a mail says, and what of it is to be written down before it leaves.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What it says besides its facts.
    pub contents: Contents,
    /// The lines that were worked out just now, as JSON; `None` where the cause of a line has gone.
    pub worked_out: Vec<(NoticeId, Option<String>)>,
}

/// The token of the link in a mail, where its kind has one: the same each time, and stored nowhere.
pub fn token(secrets: &Secrets, row: &Row) -> Option<Token> {
    token_of(secrets, &row.mail, row.id, &row.to.address, row.created_at)
}

fn token_of(secrets: &Secrets, mail: &Mail, id: MailId, address: &str, at: Time) -> Option<Token> {
    let purpose = match mail {
        Mail::Invitation { .. } => Purpose::Invite,
        Mail::PasswordReset { .. } | Mail::ConfirmAddress { .. } => Purpose::Reset,
        _ => return None,
    };
    let at = at.timestamp_micros().to_be_bytes();
    Some(secrets.link(purpose, id.0, &[mail.word().as_bytes(), outbox::folded(address).as_bytes(), &at]))
}

/// Writes a mail with a link. The keyed hash of its token is for the caller to store; `None` where this mail was written before.
fn add_with_link(tx: &mut Tx<'_>, new: &NewMail<'_>) -> Result<Option<[u8; 32]>, StoreError> {
    let Some(id) = outbox::add(tx, new)? else { return Ok(None) };
    let token = token_of(tx.secrets(), new.mail, id, &new.to.address, tx.now());
    Ok(token.map(|token| {
        let purpose = if matches!(new.mail, Mail::Invitation { .. }) { Purpose::Invite } else { Purpose::Reset };
        link_hash(tx.secrets(), purpose, token.reveal())
    }))
}

/// Mails an invitation. Answers the keyed hash of the token in it, which the caller stores as one more link of the invitation.
///
/// # Errors
/// The database is away.
pub fn invite(tx: &mut Tx<'_>, tenant: TenantId, email: &EmailAddress, by: &str, until: Time) -> Result<Option<[u8; 32]>, StoreError> {
    // Whether there is an account is for its owner to know: the mail reads the same for both.
    let mail = Mail::Invitation { by: by.to_owned(), until, has_account: false };
    let to = To { address: email.as_str().to_owned(), name: String::new() };
    let once = format!("invite/{}/{}/{}", tenant.number(), email.canonical(), tx.now().timestamp_micros());
    add_with_link(tx, &NewMail { tenant: Some(tenant), account: None, to: &to, mail: &mail, once: &once })
}

/// How many links to set a new password one address is sent in an hour.
const RESETS_IN_AN_HOUR: i64 = 3;

/// Mails a link to set a new password, for one hour; earlier ones die. Nothing happens where there is no such account, or where
/// it was asked for too often.
///
/// # Errors
/// The database is away.
pub fn start_reset(tx: &mut Tx<'_>, by: &By, email: &str) -> Result<(), StoreError> {
    let Some(account) = accounts::by_email(tx, email)? else { return Ok(()) };
    // Of requests at one moment, each counts those before it.
    accounts::hold(tx, account.id)?;
    let (now, hour) = (tx.now(), chrono::Duration::hours(1));
    if outbox::written_since(tx, "password_reset", &account.email, now - hour)? >= RESETS_IN_AN_HOUR {
        return Ok(());
    }
    let mail = Mail::PasswordReset { until: now + hour };
    let tenant = home(tx, &account)?;
    let to = To { address: account.email.clone(), name: account.name.clone() };
    let once = format!("reset/{}/{}", account.id, now.timestamp_micros());
    if let Some(hash) = add_with_link(tx, &NewMail { tenant, account: Some(account.id), to: &to, mail: &mail, once: &once })? {
        links::replace(tx, Purpose::Reset, &hash, Some(account.id), now + hour)?;
        credentials::note(tx, by, &account, Action::PasswordResetStarted, &serde_json::json!({}))?;
    }
    Ok(())
}

/// Mails the link that confirms a new address. Answers the keyed hash of its token, which the caller stores.
///
/// # Errors
/// The database is away.
pub(super) fn confirm_address(tx: &mut Tx<'_>, account: &Account, email: &EmailAddress, mail: &Mail) -> Result<Option<[u8; 32]>, StoreError> {
    let tenant = home(tx, account)?;
    let to = To { address: email.as_str().to_owned(), name: account.name.clone() };
    let once = format!("address/{}/{}/{}", account.id, email.canonical(), tx.now().timestamp_micros());
    add_with_link(tx, &NewMail { tenant, account: Some(account.id), to: &to, mail, once: &once })
}

/// The tenant on whose Mail page the mails of an account stand: the one that was open last, else its first.
fn home(tx: &mut Tx<'_>, account: &Account) -> Result<Option<TenantId>, StoreError> {
    let tenants = accounts::members_of(tx, account.id)?;
    let last = tenants.iter().find(|(tenant, _)| Some(tenant.number()) == account.last_tenant);
    Ok(last.or(tenants.first()).map(|(tenant, _)| *tenant))
}

/// Tells a person that something they sign in with was changed.
///
/// # Errors
/// The database is away.
pub fn tell_account(tx: &mut Tx<'_>, by: &By, account: &Account, what: SecurityChange) -> Result<(), StoreError> {
    tell_address(tx, by, account, &account.email, what)
}

/// The same at another address, for a change of the address.
///
/// # Errors
/// The database is away.
pub fn tell_address(tx: &mut Tx<'_>, by: &By, account: &Account, address: &str, what: SecurityChange) -> Result<(), StoreError> {
    let by_other = match &by.who {
        Who::Member(acting) if acting.account != account.id => Some(acting.name.clone()),
        Who::Account { id, name, .. } if *id != account.id => Some(name.clone()),
        Who::Command(command) => Some(format!("keyward {command}")),
        _ => None,
    };
    let from_address = by.address.map(|address| address.to_string()).unwrap_or_default();
    let once = format!("security/{}/{}/{}/{}", account.id, outbox::folded(address), what.word(), tx.now().timestamp_micros());
    let mail = Mail::SecurityChanged { what, at: tx.now(), from_address, by: by_other };
    let to = To { address: address.to_owned(), name: account.name.clone() };
    let tenant = home(tx, account)?;
    outbox::add(tx, &NewMail { tenant, account: Some(account.id), to: &to, mail: &mail, once: &once })?;
    Ok(())
}

/// Tells the owner of a key what somebody else did with it, in the transaction of the event, which is the newest of its chain.
///
/// # Errors
/// The database is away.
pub(super) fn tell_owner(tx: &mut Tx<'_>, by: &By, key: &Key, event: &Event) -> Result<(), StoreError> {
    if by.acting().is_some_and(|acting| acting.owns(key.owner)) || !is_told(event) {
        return Ok(());
    }
    let Some(owner) = members::find(tx, key.tenant, key.owner)? else { return Ok(()) };
    if !owner.is_active() || owner.email.is_empty() {
        return Ok(());
    }
    let number = events::newest(tx, key.tenant)?;
    let named = KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() };
    let mail =
        Mail::KeyChanged { key: named, action: event.action.word().to_owned(), by: event.actor.name.clone(), at: event.at, facts: facts_of(event) };
    let once = format!("change/{}/{number}/{}", key.tenant.number(), outbox::folded(&owner.email));
    let to = To { address: owner.email, name: owner.name };
    outbox::add(tx, &NewMail { tenant: Some(key.tenant), account: None, to: &to, mail: &mail, once: &once })?;
    Ok(())
}

/// Tells the new owner of keys that were handed over, each with what it lost.
///
/// # Errors
/// The database is away.
pub(super) fn tell_handed_over(
    tx: &mut Tx<'_>,
    by: &By,
    tenant: &Tenant,
    from: &Owner,
    to: &Owner,
    keys: &[(Key, Vec<String>)],
) -> Result<(), StoreError> {
    if by.acting().is_some_and(|acting| acting.id == to.id) || to.email.is_empty() {
        return Ok(());
    }
    let mut lost: Vec<String> = keys.iter().flat_map(|(_, lost)| lost.iter().cloned()).collect();
    lost.sort();
    lost.dedup();
    let named = keys.iter().map(|(key, _)| KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() });
    let mail = Mail::HandedOver { keys: named.collect(), from: from.name.clone(), by: by.actor().name, at: tx.now(), lost };
    let once = format!("handed/{}/{}/{}", tenant.id.number(), events::newest(tx, tenant.id)?, outbox::folded(&to.email));
    let to = To { address: to.email.clone(), name: to.name.clone() };
    outbox::add(tx, &NewMail { tenant: Some(tenant.id), account: None, to: &to, mail: &mail, once: &once })?;
    Ok(())
}

/// Tells the owner before, who stays a member, that a key was handed to somebody else.
///
/// # Errors
/// The database is away.
pub(super) fn tell_handed_away(tx: &mut Tx<'_>, by: &By, tenant: &Tenant, from: &Owner, to: &Owner, key: &Key) -> Result<(), StoreError> {
    if by.acting().is_some_and(|acting| acting.owns(from.id)) || !from.is_active() || from.email.is_empty() {
        return Ok(());
    }
    let named = KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() };
    let facts = vec![("New owner".to_owned(), to.name.clone())];
    let mail = Mail::KeyChanged { key: named, action: Action::KeyHandedOver.word().to_owned(), by: by.actor().name, at: tx.now(), facts };
    let once = format!("away/{}/{}/{}", tenant.id.number(), events::newest(tx, tenant.id)?, outbox::folded(&from.email));
    let to = To { address: from.email.clone(), name: from.name.clone() };
    outbox::add(tx, &NewMail { tenant: Some(tenant.id), account: None, to: &to, mail: &mail, once: &once })?;
    Ok(())
}

/// Whether an event of a key is one that its owner hears of.
fn is_told(event: &Event) -> bool {
    let has = |name: &str| event.details.get(name).is_some();
    match event.action {
        Action::KeyEdited => ["access", "resources", "ip_ranges", "expires_at"].iter().any(|name| has(name)),
        // A key that was not revoked is revoked first; its deletion is told of.
        Action::KeyRevoked => event.details["reason"] != "deleted",
        Action::KeyCreated | Action::KeyDisabled | Action::KeyEnabled | Action::KeyRenewed | Action::KeyRolled | Action::KeyDeleted => true,
        _ => false,
    }
}

/// What the details of an event say, in words.
fn facts_of(event: &Event) -> Vec<(String, String)> {
    let details = &event.details;
    let time = |value: &serde_json::Value| serde_json::from_value::<Time>(value.clone()).map_or_else(|_| "never".to_owned(), date_time);
    let mut facts = Vec::new();
    if let Some(reason) = details["reason"].as_str().filter(|reason| !reason.is_empty()) {
        facts.push(("Reason".to_owned(), reason.to_owned()));
    }
    if event.action == Action::KeyRolled {
        facts.push(("Old secret stops".to_owned(), time(&details["old_secret_stops_at"])));
    }
    if event.action == Action::KeyCreated {
        facts.push(("Expires".to_owned(), time(&details["expires_at"])));
    } else if details["expires_at"]["from"] != details["expires_at"]["to"] {
        facts.push(("Expired or was to expire".to_owned(), time(&details["expires_at"]["from"])));
        facts.push(("Expires now".to_owned(), time(&details["expires_at"]["to"])));
    }
    if event.action == Action::KeyEdited {
        let names = [("access", "access"), ("resources", "resources"), ("ip_ranges", "IP ranges"), ("expires_at", "expiry")];
        let changed: Vec<&str> = names.iter().filter(|(name, _)| details.get(name).is_some()).map(|(_, word)| *word).collect();
        facts.push(("Changed".to_owned(), changed.join(", ")));
    }
    facts
}

/// The event of a mail that is sent again.
pub fn sent_again(by: &By, row: &Row) -> Event {
    by.event(Action::MailSentAgain, ("mail", &row.id.to_string(), &row.to.address), serde_json::json!({ "kind": row.mail.word() }))
}

/// Gathers what a mail says. One that has left says what it said then.
///
/// # Errors
/// The database is away.
pub fn gather(db: &mut Db, secrets: &Secrets, row: &Row, now: Time) -> Result<Gathered, StoreError> {
    let mut gathered = Gathered::default();
    if let Some(tenant) = row.tenant {
        let tenant = tenants::get(db, tenant)?;
        gathered.contents.notice_days.clone_from(&tenant.settings.notice_days);
        gathered.contents.tenant = Some((tenant.slug, tenant.name));
    }
    gathered.contents.token = token(secrets, row).map(|token| token.reveal().to_owned());
    if row.mail != Mail::Digest {
        return Ok(gathered);
    }
    for notice in outbox::notices_of(db, row.id)? {
        let line = if row.state() == State::Waiting {
            let line = fresh_line(db, &notice, now)?;
            let json = line.as_ref().map(serde_json::to_string).transpose().map_err(|error| StoreError::Row(error.to_string()))?;
            gathered.worked_out.push((notice.id, json));
            line
        } else {
            notice.shown.as_deref().map(serde_json::from_str).transpose().map_err(|error| StoreError::Row(error.to_string()))?
        };
        if let Some(line) = line {
            let token = extensions::token(secrets, &notice);
            gathered.contents.lines.push((line, Some(token.reveal().to_owned())));
        }
    }
    Ok(gathered)
}

/// What a notice says now; `None` where its cause has gone.
fn fresh_line(db: &mut Db, notice: &Notice, now: Time) -> Result<Option<Line>, StoreError> {
    let Ok(stage) = notice.stage.parse::<Stage>() else { return Ok(None) };
    let linked = extensions::linked(db, notice.clone())?;
    let extended_to = extend::offer(&linked, now).ok();
    let Linked { tenant, key: Some((key, _)), .. } = linked else { return Ok(None) };
    let still_named = || key.notice_recipients.iter().any(|address| outbox::folded(address.as_str()) == notice.recipient);
    if !still_true(stage, notice.expires_at, &key.life, &tenant.grace, now) || (notice.role == Role::Extra && !still_named()) {
        return Ok(None);
    }
    let for_extra = notice.role == Role::Extra;
    let used = key.last_used.filter(|_| !for_extra);
    Ok(Some(Line {
        key: KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() },
        stage: notice.stage.clone(),
        expires_at: notice.expires_at,
        works_until: tenant.grace.end(notice.expires_at, now),
        extended_to,
        last_used_at: used.as_ref().map(|used| used.at),
        last_used_from: used.and_then(|used| used.ip),
        for_extra,
    }))
}
