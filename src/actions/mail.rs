//! Mails that follow from what was done, and what a mail tells of, gathered when it is sent or looked at.

use std::collections::BTreeSet;

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
        mail::{Contents, KeyName, Line, MOST_KEYS, MOST_LINES, Mail, Role, SecurityChange, Shown},
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
        gateways, links,
        members::{self, Owner},
        notices,
        outbox::{self, NewMail, Notice, Row, State, To},
        tenants::{self, Tenant},
    },
};

/// What a mail says, and what of it is to be written down before it leaves.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What it says besides its facts.
    pub contents: Contents,
    /// The lines that were worked out just now.
    pub worked_out: Vec<(NoticeId, Shown)>,
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

/// How many invitations one tenant mails to one address in a day.
const INVITATIONS_IN_A_DAY: i64 = 5;

/// Whether a tenant may mail another invitation to an address now.
///
/// # Errors
/// The database is away.
pub fn may_invite(tx: &mut Tx<'_>, tenant: TenantId, email: &EmailAddress) -> Result<bool, StoreError> {
    let day_before = tx.now() - chrono::Duration::days(1);
    Ok(outbox::invited_since(tx, tenant, email.as_str(), day_before)? < INVITATIONS_IN_A_DAY)
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

/// Tells who looks after a key what somebody else did with it, in the transaction of the event, which is the newest of its chain.
///
/// # Errors
/// The database is away.
pub(super) fn tell_owner(tx: &mut Tx<'_>, by: &By, key: &Key, event: &Event) -> Result<(), StoreError> {
    if !is_told(event) {
        return Ok(());
    }
    let Some(owner) = members::find(tx, key.tenant, key.owner)? else { return Ok(()) };
    let number = events::newest(tx, key.tenant)?;
    let named = KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() };
    for to in others(tx, by, key.tenant, &owner)? {
        let once = format!("change/{}/{number}/{}", key.tenant.number(), outbox::folded(&to.address));
        tell_of_change(tx, key.tenant, &to, &named, event, &once)?;
    }
    Ok(())
}

/// Who looks after the keys of an owner, but for who acts; nobody where one of them acts, whose keys these are.
fn others(tx: &mut Tx<'_>, by: &By, tenant: TenantId, owner: &Owner) -> Result<Vec<To>, StoreError> {
    if by.acting().is_some_and(|acting| acting.owns(owner.id)) {
        return Ok(Vec::new());
    }
    let mut all = notices::who_looks_after(tx, tenant, owner)?;
    if let Some(acting) = by.acting() {
        all.retain(|to| outbox::folded(&to.address) != outbox::folded(&acting.email));
    }
    Ok(all)
}

/// How long changes are gathered after the first of them was told of.
const GATHERED_FOR: chrono::Duration = chrono::Duration::minutes(1);
/// How many mails of late are looked at for one that takes a further key.
const LOOKED_AT: i64 = 5;

/// Tells of a change at once. When the same person does the same with many keys, the mail that has not left yet takes the further
/// ones; where it has left, one that leaves a minute later does.
fn tell_of_change(tx: &mut Tx<'_>, tenant: TenantId, to: &To, key: &KeyName, event: &Event, once: &str) -> Result<(), StoreError> {
    let now = tx.now();
    let (action, by, facts) = (event.action.word().to_owned(), event.actor.name.clone(), facts_of(event));
    let mut due_at = now;
    for row in outbox::newest_to(tx, tenant, &to.address, now - GATHERED_FOR, LOOKED_AT)? {
        let (keys, at) = match &row.mail {
            Mail::KeyChanged { key, action: its, by: who, at, facts: its_facts } if (its, who, its_facts) == (&action, &by, &facts) => {
                (vec![key.clone()], *at)
            }
            Mail::KeysChanged { keys, action: its, by: who, at, facts: its_facts } if (its, who, its_facts) == (&action, &by, &facts) => {
                (keys.clone(), *at)
            }
            _ => continue,
        };
        if keys.contains(key) {
            continue;
        }
        due_at = now + GATHERED_FOR;
        if row.taken_at.is_none() && keys.len() < MOST_KEYS {
            let keys = keys.into_iter().chain([key.clone()]).collect();
            let mail = Mail::KeysChanged { keys, action: action.clone(), by: by.clone(), at, facts: facts.clone() };
            if outbox::rewrite(tx, row.id, &mail)? {
                return Ok(());
            }
        }
    }
    let mail = Mail::KeyChanged { key: key.clone(), action, by, at: event.at, facts };
    outbox::add_for(tx, &NewMail { tenant: Some(tenant), account: None, to, mail: &mail, once }, due_at)?;
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
    let mut lost: Vec<String> = keys.iter().flat_map(|(_, lost)| lost.iter().cloned()).collect();
    lost.sort();
    lost.dedup();
    let named = keys.iter().map(|(key, _)| KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() });
    let mail = Mail::HandedOver { keys: named.collect(), from: from.name.clone(), by: by.actor().name, at: tx.now(), lost };
    let number = events::newest(tx, tenant.id)?;
    for reader in others(tx, by, tenant.id, to)? {
        // Two service accounts may have one contact.
        let once = format!("handed/{}/{number}/{}/{}", tenant.id.number(), to.id, outbox::folded(&reader.address));
        outbox::add(tx, &NewMail { tenant: Some(tenant.id), account: None, to: &reader, mail: &mail, once: &once })?;
    }
    Ok(())
}

/// Tells the owner before, who stays a member, that a key was handed to somebody else.
///
/// # Errors
/// The database is away.
pub(super) fn tell_handed_away(tx: &mut Tx<'_>, by: &By, tenant: &Tenant, from: &Owner, to: &Owner, key: &Key) -> Result<(), StoreError> {
    let named = KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() };
    let facts = vec![("New owner".to_owned(), to.name.clone())];
    let mail = Mail::KeyChanged { key: named, action: Action::KeyHandedOver.word().to_owned(), by: by.actor().name, at: tx.now(), facts };
    let number = events::newest(tx, tenant.id)?;
    for reader in others(tx, by, tenant.id, from)? {
        let once = format!("away/{}/{number}/{}", tenant.id.number(), outbox::folded(&reader.address));
        outbox::add(tx, &NewMail { tenant: Some(tenant.id), account: None, to: &reader, mail: &mail, once: &once })?;
    }
    Ok(())
}

/// Whether an event of a key is one that its owner hears of.
fn is_told(event: &Event) -> bool {
    let has = |name: &str| event.details.get(name).is_some();
    match event.action {
        Action::KeyEdited => ["access", "resources", "ip_ranges", "expires_at"].iter().any(|name| has(name)),
        Action::KeyCreated
        | Action::KeyDisabled
        | Action::KeyEnabled
        | Action::KeyRenewed
        | Action::KeyRolled
        | Action::KeyRevoked
        | Action::KeyDeleted => true,
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
    let lines = outbox::notices_of(db, row.id)?;
    let all = match row.tenant {
        Some(tenant) if row.state() == State::Waiting => work_out(db, tenant, &lines, now)?,
        _ => lines.into_iter().filter_map(|notice| outbox::shown(&notice).map(|shown| (notice, shown))).collect(),
    };
    for (notice, shown) in &all {
        match shown {
            Shown::Full(line) => gathered.contents.lines.push(((**line).clone(), Some(extensions::token(secrets, notice).reveal().to_owned()))),
            Shown::Counted => gathered.contents.more += 1,
            Shown::Gone => {}
        }
    }
    if row.state() == State::Waiting {
        gathered.worked_out = all.into_iter().map(|(notice, shown)| (notice.id, shown)).collect();
    }
    Ok(gathered)
}

/// How many lines are looked up at a time.
const LINES_AT_A_TIME: usize = 500;

/// What the lines of a digest say now: the most urgent keys in full, the rest counted.
fn work_out(db: &mut Db, tenant: TenantId, lines: &[Notice], now: Time) -> Result<Vec<(Notice, Shown)>, StoreError> {
    let tenant = tenants::get(db, tenant)?;
    let mut all = Vec::with_capacity(lines.len());
    for some in lines.chunks(LINES_AT_A_TIME) {
        for linked in extensions::linked_all(db, &tenant, some.to_vec())? {
            let line = fresh_line(&linked, now);
            all.push((linked.notice, line));
        }
    }
    let mut order: Vec<(Time, usize)> =
        all.iter().enumerate().filter_map(|(at, (_, line))| line.as_ref().map(|line| (line.urgency(now), at))).collect();
    order.sort_unstable();
    let counted: BTreeSet<usize> = order.into_iter().skip(MOST_LINES).map(|(_, at)| at).collect();
    let shown = all.into_iter().enumerate().map(|(at, (notice, line))| {
        let shown = match line {
            Some(_) if counted.contains(&at) => Shown::Counted,
            Some(line) => Shown::Full(Box::new(line)),
            None => Shown::Gone,
        };
        (notice, shown)
    });
    Ok(shown.collect())
}

/// What a notice says now; `None` where its cause has gone, or where its recipient has nothing to do with the key any more.
fn fresh_line(linked: &Linked, now: Time) -> Option<Line> {
    let Linked { notice, tenant, key: Some((key, _)), .. } = linked else { return None };
    let stage: Stage = notice.stage.parse().ok()?;
    let for_extra = notice.role == Role::Extra;
    let still_named = || key.notice_recipients.iter().any(|address| outbox::folded(address.as_str()) == notice.recipient);
    let still_concerned = if for_extra { still_named() } else { extend::is_concerned(linked) };
    if !still_concerned || !still_true(stage, notice.expires_at, &key.life, &tenant.grace, now) {
        return None;
    }
    let used = key.last_used.clone().filter(|_| !for_extra);
    Some(Line {
        key: KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() },
        stage: notice.stage.clone(),
        expires_at: notice.expires_at,
        works_until: tenant.grace.end(notice.expires_at, now),
        extended_to: extend::offer(linked, now).ok().and_then(|key| key.life.expires_at),
        last_used_at: used.as_ref().map(|used| used.at),
        last_used_from: used.and_then(|used| used.ip),
        for_extra,
        for_admin: notice.role == Role::Admin,
    })
}

/// Whether a mail has lost its cause: its link was used, withdrawn or replaced, or its gateway credential was revoked.
///
/// # Errors
/// The database is away.
pub fn is_void(db: &mut Db, secrets: &Secrets, row: &Row, now: Time) -> Result<bool, StoreError> {
    let hash = |purpose: Purpose| token(secrets, row).map(|token| link_hash(secrets, purpose, token.reveal())).unwrap_or_default();
    Ok(match &row.mail {
        Mail::Invitation { .. } => links::invitation(db, &hash(Purpose::Invite), now)?.is_none(),
        Mail::PasswordReset { .. } => links::find(db, Purpose::Reset, &hash(Purpose::Reset), now)?.is_none(),
        Mail::ConfirmAddress { .. } => links::address(db, &hash(Purpose::Reset), now)?.is_none(),
        Mail::GatewayExpires { id, expires_at, .. } => match row.tenant {
            Some(tenant) => !gateways::ends_at(db, tenant, id, *expires_at)?,
            None => true,
        },
        _ => false,
    })
}
