//! What a mailed link can do: extend its key once per expiry, and take its recipient off the key's notices.

use serde_json::json;

use super::{By, Who};
use crate::{
    domain::{
        change,
        event::Action,
        key::Key,
        mail::{KeyName, Mail, Role},
        notice::NoExtension,
        time::{Time, date_time},
    },
    store::{
        StoreError, Tx, events,
        extensions::{self, Extension, Linked},
        keys,
        members::Owner,
        notices,
        outbox::{self, NewMail},
    },
};

/// Why a link does nothing, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LinkError {
    #[error("This is not a link that Keyward has sent, or it is not whole. Copy it from the mail again.")]
    Unknown,
    #[error("This key was deleted.")]
    Deleted,
    #[error("You have extended this key with this link already, on {}. It now expires on {}.", date_time(.0.at), date_time(.0.to))]
    Used(Extension),
    #[error("This key was extended by another recipient of the notice already, on {}. It now expires on {}.", date_time(.0.at), date_time(.0.to))]
    UsedByAnother(Extension),
    #[error("This mail went to an address that no longer looks after the key.")]
    NotTheirs,
    #[error(transparent)]
    No(#[from] NoExtension),
    #[error("You are not among the extra recipients of this key’s notices any more.")]
    NotARecipient,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the recipient of a link still looks after its key: an owner after a hand-over does not. Extra recipients were named on
/// the key, and their links live as long as its expiry.
pub(super) fn is_concerned(linked: &Linked) -> bool {
    linked.notice.role == Role::Extra || linked.recipients.contains(&linked.notice.recipient)
}

/// The key as a link would leave it now.
///
/// # Errors
/// Why it would leave it as it is.
pub fn offer(linked: &Linked, now: Time) -> Result<Key, LinkError> {
    let Some((key, owner)) = &linked.key else { return Err(LinkError::Deleted) };
    if owner.is_active() && !is_concerned(linked) {
        return Err(LinkError::NotTheirs);
    }
    let extended = change::extend(key, linked.notice.expires_at, owner.is_active(), &linked.tenant.policy(), now);
    match (extended, &linked.extension) {
        (Err(NoExtension::Revoked), _) => Err(NoExtension::Revoked.into()),
        // What came of the extension later is not this link's to tell.
        (_, Some(used)) if key.life.expires_at == Some(used.to) && used.recipient == linked.notice.recipient => Err(LinkError::Used(used.clone())),
        (_, Some(used)) if key.life.expires_at == Some(used.to) => Err(LinkError::UsedByAnother(used.clone())),
        (_, Some(_)) => Err(NoExtension::Changed(key.life.expires_at).into()),
        // The same expiry was set anew after the mail was written.
        (Ok(_), None) if key.expiry_set_at > linked.notice.created_at => Err(NoExtension::Changed(key.life.expires_at).into()),
        (result, None) => Ok(result?),
    }
}

/// The key that a link extended, with its expiry before and after.
#[derive(Debug)]
pub struct Extended {
    /// What the link leads to, as it was before.
    pub linked: Linked,
    /// The expiry after.
    pub to: Time,
}

fn by_link(by: &By, linked: &Linked) -> By {
    By { who: Who::Link(linked.notice.recipient.clone()), ..by.clone() }
}

fn open(tx: &mut Tx<'_>, token: &str) -> Result<Linked, LinkError> {
    let secrets = tx.secrets().clone();
    let notice = extensions::notice(tx, &secrets, token)?.ok_or(LinkError::Unknown)?;
    tx.lock(notice.tenant)?;
    Ok(extensions::linked(tx, notice)?)
}

/// Extends the key of a link.
///
/// # Errors
/// Why not; nothing is changed then.
pub fn extend(tx: &mut Tx<'_>, by: &By, token: &str) -> Result<Extended, LinkError> {
    let linked = open(tx, token)?;
    let mut key = offer(&linked, tx.now())?;
    let (Some(to), Some((_, owner))) = (key.life.expires_at, linked.key.clone()) else { return Err(LinkError::Deleted) };
    save(tx, &mut key, &owner)?;
    extensions::add(tx, &linked.notice, to)?;
    let details = json!({ "expires_at": { "from": linked.notice.expires_at, "to": to } });
    let by = by_link(by, &linked);
    events::add(tx, key.tenant, &by.event(Action::KeyExtended, ("key", key.id.as_str(), key.name.as_str()), details))?;
    let mail = Mail::KeyExtended { key: named(&key), from: linked.notice.expires_at, to, at: tx.now() };
    let once = format!("extended/{}/{}", key.id, linked.notice.expires_at.timestamp_micros());
    tell_owner(tx, &linked, &owner, &mail, &once)?;
    Ok(Extended { linked, to })
}

/// Whether the recipient of a link may say that they want no more notices of its key.
///
/// # Errors
/// They are no extra recipient, or no longer.
pub fn may_stop(linked: &Linked) -> Result<(), LinkError> {
    let Some((key, _)) = &linked.key else { return Err(LinkError::Deleted) };
    let is_named = key.notice_recipients.iter().any(|address| outbox::folded(address.as_str()) == linked.notice.recipient);
    if linked.notice.role == Role::Extra && is_named { Ok(()) } else { Err(LinkError::NotARecipient) }
}

/// Takes the recipient of a link off the notices of its key.
///
/// # Errors
/// Why not; nothing is changed then.
pub fn stop(tx: &mut Tx<'_>, by: &By, token: &str) -> Result<Linked, LinkError> {
    let linked = open(tx, token)?;
    take_off(tx, by, &linked)?;
    Ok(linked)
}

/// Takes the recipient of a link off the notices of every key of the mail that the link stands in: what a mail program means by
/// *Unsubscribe*.
///
/// # Errors
/// Why not: they are an extra recipient of none of the keys any more. Nothing is changed then.
pub fn stop_all(tx: &mut Tx<'_>, by: &By, token: &str) -> Result<Linked, LinkError> {
    let first = open(tx, token)?;
    let lines = outbox::notices_of(tx, first.notice.mail)?.into_iter().filter(|notice| notice.recipient == first.notice.recipient);
    let mut any = false;
    for linked in extensions::linked_all(tx, &first.tenant, lines.collect())? {
        if may_stop(&linked).is_ok() {
            take_off(tx, by, &linked)?;
            any = true;
        }
    }
    if any { Ok(first) } else { Err(LinkError::NotARecipient) }
}

fn take_off(tx: &mut Tx<'_>, by: &By, linked: &Linked) -> Result<(), LinkError> {
    may_stop(linked)?;
    let Some((mut key, owner)) = linked.key.clone() else { return Err(LinkError::Deleted) };
    let before = key.notice_recipients.clone();
    key.notice_recipients.retain(|address| outbox::folded(address.as_str()) != linked.notice.recipient);
    save(tx, &mut key, &owner)?;
    let details = json!({ "notice_recipients": { "from": before, "to": key.notice_recipients } });
    let by = by_link(by, linked);
    events::add(tx, key.tenant, &by.event(Action::KeyEdited, ("key", key.id.as_str(), key.name.as_str()), details))?;
    let mail = Mail::RecipientLeft { key: named(&key), address: linked.notice.recipient.clone(), at: tx.now() };
    let once = format!("left/{}/{}/{}", key.id, linked.notice.recipient, tx.now().timestamp_micros());
    Ok(tell_owner(tx, linked, &owner, &mail, &once)?)
}

fn save(tx: &mut Tx<'_>, key: &mut Key, owner: &Owner) -> Result<(), LinkError> {
    key.changed_at = tx.now();
    // The lock on the tenant keeps other writers of this key away.
    if keys::save(tx, key, key.version, owner)? { Ok(()) } else { Err(StoreError::Busy.into()) }
}

fn named(key: &Key) -> KeyName {
    KeyName { id: key.id.to_string(), name: key.name.as_str().to_owned() }
}

/// Tells who looks after the key, but for whose link it was.
fn tell_owner(tx: &mut Tx<'_>, linked: &Linked, owner: &Owner, mail: &Mail, once: &str) -> Result<(), StoreError> {
    for to in notices::who_looks_after(tx, linked.tenant.id, owner)? {
        let address = outbox::folded(&to.address);
        if address != linked.notice.recipient {
            let once = format!("{once}/{address}");
            outbox::add(tx, &NewMail { tenant: Some(linked.tenant.id), account: None, to: &to, mail, once: &once })?;
        }
    }
    Ok(())
}
