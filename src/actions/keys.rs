//! A key's life: create, edit, roll, finish, renew, disable, enable, revoke, delete.

use serde_json::json;

use super::{By, CodeProof, mail};
use crate::{
    chance,
    domain::{
        access::{KeyAccess, ResourceSet},
        change::{self, Refused},
        event::Action,
        ids::{KeyId, MemberId},
        ip_range::IpRanges,
        key::{Actor, Key, Life, SecretFacts},
        lifetime::{self, Choice},
        names::{EmailAddress, KeyName, Scope},
        permission::Permission,
        roll::{self, Stays},
        time::date,
        token::{self, Purpose, Token},
    },
    store::{
        StoreError, Tx, access, events, form_ids, keys,
        members::{self, Acting, Owner},
    },
};

/// How many extra recipients of notices a key may have.
pub const MOST_RECIPIENTS: usize = 5;

/// Why a key was not made or changed, in words for the page.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum KeyError {
    #[error("There is no such key.")]
    NoSuchKey,
    #[error("You may not do this with this key.")]
    NotAllowed,
    #[error("{name} has {} of {limit} keys: {parts}. Revoke or delete one, or ask a tenant admin to raise the limit.", parts.all())]
    Limit { name: String, limit: i64, parts: keys::Parts },
    #[error("This key was changed in the meantime. Look at it as it is now, and decide again.")]
    Changed,
    #[error("This form was sent before; the key {0} was made then.")]
    AlreadyDone(String),
    #[error("Enter the code from your authenticator app.")]
    NeedsCode,
    #[error("This key was disabled by {0}. Only someone who may revoke any key can enable it.")]
    DisabledByAnother(String),
    #[error("The owner of this key is suspended or removed.")]
    OwnerInactive,
    #[error("{0}")]
    Access(String),
    #[error("{0}")]
    Resources(String),
    #[error("Enter {MOST_RECIPIENTS} addresses or fewer.")]
    Recipients,
    #[error("Only someone with every console permission of the key’s owner can do this with a management key.")]
    Climb,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a person fills in for a key.
#[derive(Debug, Clone)]
pub struct KeyForm {
    /// The name; `None` for *Key of 21 Nov 2026*.
    pub name: Option<KeyName>,
    /// 0 to 500 characters, see [`crate::domain::names::lines`].
    pub comment: String,
    /// How the scopes are chosen.
    pub access: KeyAccess,
    /// All of the owner's resources, or chosen ones.
    pub resources: ResourceSet,
    /// Where it may be used from.
    pub ip_ranges: IpRanges,
    /// Who gets notices besides the owner.
    pub notice_recipients: Vec<EmailAddress>,
}

/// A key with the only copy of its token.
#[derive(Debug)]
pub struct Made {
    /// The key.
    pub key: Key,
    /// The token, for the one response that shows it.
    pub token: Token,
}

fn member(by: &By) -> Result<&Acting, KeyError> {
    by.acting().ok_or(KeyError::NotAllowed)
}

/// Who acts, as they are now; see [`super::in_turn`].
fn in_turn(tx: &mut Tx<'_>, by: &By) -> Result<By, KeyError> {
    super::in_turn(tx, by)?.ok_or(KeyError::NotAllowed)
}

fn actor(by: &By) -> Actor {
    Actor { member: by.acting().map(|acting| acting.id), name: by.actor().name }
}

/// Writes an event about a key into the chain of its tenant.
pub(super) fn note(tx: &mut Tx<'_>, by: &By, action: Action, key: &Key, details: serde_json::Value) -> Result<(), StoreError> {
    let event = by.event(action, ("key", key.id.as_str(), key.name.as_str()), details);
    events::add(tx, key.tenant, &event)?;
    mail::tell_owner(tx, by, key, &event)
}

/// Makes a key for `owner`. `form_id` is the one-time ID of the form.
///
/// # Errors
/// See [`KeyError`]; nothing is changed then.
pub fn create(
    tx: &mut Tx<'_>,
    by: &By,
    owner: MemberId,
    form: &KeyForm,
    expiry: Choice,
    form_id: &str,
    proof: Option<&CodeProof>,
) -> Result<Made, KeyError> {
    let by = &in_turn(tx, by)?;
    let tenant = member(by)?.tenant.clone();
    if let Some(made) = form_ids::result(tx, member(by)?.account, form_id)? {
        return Err(KeyError::AlreadyDone(made));
    }
    if !member(by)?.may_manage(owner) {
        return Err(KeyError::NotAllowed);
    }
    tenant.policy().keys_on()?;
    if tenant.settings.code_actions.create_and_renew && proof.is_none() {
        return Err(KeyError::NeedsCode);
    }
    let owner = members::find(tx, tenant.id, owner)?.ok_or(KeyError::NotAllowed)?;
    if !owner.is_active() {
        return Err(KeyError::OwnerInactive);
    }
    let limit = owner.key_limit.unwrap_or(tenant.settings.keys_per_member.into());
    let parts = keys::parts(tx, tenant.id, owner.id, by.now)?;
    if parts.all() >= limit {
        return Err(KeyError::Limit { name: owner.name, limit, parts });
    }
    check_grants(tx, by, &owner, form, None)?;
    guard_reserved(tx, by, &owner, reserved(&form.access).next().is_some(), proof)?;
    let now = tx.now();
    let expiry = lifetime::decide(expiry, tenant.settings.maximum_days, now).map_err(Refused::Expiry)?;
    let id = token::fresh_id(&mut chance::fill);
    let key = Key {
        id,
        tenant: tenant.id,
        seq: 0,
        owner: owner.id,
        name: form.name.clone().map_or_else(|| format!("Key of {}", date(now)).parse().map_err(|_| KeyError::NotAllowed), Ok)?,
        comment: form.comment.clone(),
        access: form.access.clone(),
        resources: form.resources.clone(),
        ip_ranges: form.ip_ranges.clone(),
        notice_recipients: form.notice_recipients.clone(),
        created_at: now,
        changed_at: now,
        life: Life { expires_at: expiry.at, ..Life::default() },
        lifetime: expiry.lifetime,
        expiry_set_at: now,
        extensions: 0,
        current: SecretFacts { made_at: now, made_by: member(by)?.name.clone(), last_used: None },
        old: None,
        disabled_by: None,
        disable_reason: String::new(),
        revoked_by: None,
        revoke_reason: String::new(),
        last_used: None,
        version: 1,
    };
    let token = Token::make(Purpose::Key, id, &mut chance::fill);
    let (hash, pepper) = hashed(tx, &key, &token)?;
    keys::insert(tx, &key, &owner, hash, pepper)?;
    form_ids::use_up(tx, member(by)?.account, form_id, id.as_str())?;
    let details = json!({ "owner": owner.name, "expires_at": key.life.expires_at, "access": access_words(&key.access), "resources": key.resources.chosen(), "ip_ranges": key.ip_ranges });
    note(tx, by, Action::KeyCreated, &key, details)?;
    Ok(Made { key, token })
}

fn hashed(tx: &Tx<'_>, key: &Key, token: &Token) -> Result<(token::SecretHash, i64), StoreError> {
    let pepper = tx.secrets().pepper_version();
    let hash = tx.secrets().token_hash(pepper, Purpose::Key, key.tenant, token.reveal()).ok_or_else(|| StoreError::Row("no pepper".into()))?;
    Ok((hash, pepper))
}

pub(super) fn reserved(access: &KeyAccess) -> impl Iterator<Item = &Scope> {
    match access {
        KeyAccess::Scopes(scopes) => Some(scopes),
        _ => None,
    }
    .into_iter()
    .flatten()
    .filter(|scope| scope.is_reserved())
}

fn access_words(access: &KeyAccess) -> serde_json::Value {
    match access {
        KeyAccess::Owner => json!("owner"),
        KeyAccess::Role(role) => json!({ "role": role.0 }),
        KeyAccess::Scopes(scopes) => json!(scopes),
    }
}

/// A form offers what the key's owner holds, whoever fills it in. What the key had `before` may stay, though it is without
/// effect while the owner lacks it.
fn check_grants(tx: &mut Tx<'_>, by: &By, owner: &Owner, form: &KeyForm, before: Option<&Key>) -> Result<(), KeyError> {
    let tenant = member(by)?.tenant.id;
    let held = access::held_by(tx, tenant, owner.id)?;
    let kept = before.map(|key| &key.access);
    match &form.access {
        KeyAccess::Owner => {}
        KeyAccess::Role(role) if held.roles.contains(role) || kept == Some(&form.access) => {}
        KeyAccess::Role(_) => return Err(KeyError::Access(format!("Choose an access role that {} holds.", owner.name))),
        KeyAccess::Scopes(scopes) => {
            let had = |scope: &Scope| matches!(kept, Some(KeyAccess::Scopes(before)) if before.contains(scope));
            let known = |scope: &Scope| crate::domain::names::RESERVED_SCOPES.contains(&scope.as_str());
            // What became empty by what was taken from the catalogue or the owner may stay so; nobody chooses it.
            if scopes.is_empty() && kept != Some(&form.access) {
                return Err(KeyError::Access("Choose one scope or more.".into()));
            }
            if let Some(scope) =
                scopes.iter().find(|scope| if scope.is_reserved() { !known(scope) } else { !held.scopes.contains(*scope) && !had(scope) })
            {
                return Err(KeyError::Access(format!("{} does not hold the scope {scope}.", owner.name)));
            }
        }
    }
    if let ResourceSet::Chosen(patterns) = &form.resources {
        if patterns.is_empty() && before.is_none_or(|key| key.resources != form.resources) {
            return Err(KeyError::Resources("Choose one resource or more.".into()));
        }
        let cut = form.resources.cut_to(&held.resources);
        let had = |pattern| before.and_then(|key| key.resources.chosen()).is_some_and(|before| before.contains(pattern));
        if let Some(pattern) = patterns.iter().find(|pattern| !cut.chosen().is_some_and(|cut| cut.contains(*pattern)) && !had(*pattern)) {
            return Err(KeyError::Resources(format!("{} does not hold {pattern}.", owner.name)));
        }
    }
    if form.notice_recipients.len() > MOST_RECIPIENTS {
        return Err(KeyError::Recipients);
    }
    Ok(())
}

/// Creating, rolling, enabling or editing a key with reserved scopes needs every console permission that its owner holds, from a
/// keeper too; choosing reserved scopes needs a TOTP code.
fn guard_reserved(tx: &mut Tx<'_>, by: &By, owner: &Owner, has_reserved: bool, proof: Option<&CodeProof>) -> Result<(), KeyError> {
    if !has_reserved {
        return Ok(());
    }
    let (permissions, _) = members::permissions(tx, &member(by)?.tenant, owner.id)?;
    if !member(by)?.permissions.has_all(permissions) {
        return Err(KeyError::Climb);
    }
    if proof.is_none() {
        return Err(KeyError::NeedsCode);
    }
    Ok(())
}

fn find(tx: &mut Tx<'_>, by: &By, id: KeyId) -> Result<(Key, Owner), KeyError> {
    let key = keys::find(tx, &member(by)?.reach(), id)?.ok_or(KeyError::NoSuchKey)?;
    let owner = members::find(tx, member(by)?.tenant.id, key.owner)?.ok_or(KeyError::NoSuchKey)?;
    Ok((key, owner))
}

fn find_to_manage(tx: &mut Tx<'_>, by: &By, id: KeyId, seen: i64) -> Result<(Key, Owner), KeyError> {
    let (key, owner) = find(tx, by, id)?;
    if !member(by)?.may_manage(key.owner) {
        return Err(KeyError::NotAllowed);
    }
    if key.version != seen {
        return Err(KeyError::Changed);
    }
    Ok((key, owner))
}

pub(super) fn save(tx: &mut Tx<'_>, key: &mut Key, owner: &Owner) -> Result<(), KeyError> {
    key.changed_at = tx.now();
    if keys::save(tx, key, key.version, owner)? { Ok(()) } else { Err(KeyError::Changed) }
}

/// Edits what can be edited; it counts from the next verification. An expiry (`None` leaves it) may be set or moved nearer, never
/// away. `seen` is the version of the key that the form showed.
///
/// # Errors
/// See [`KeyError`].
pub fn edit(
    tx: &mut Tx<'_>,
    by: &By,
    id: KeyId,
    seen: i64,
    form: &KeyForm,
    expiry: Option<Choice>,
    proof: Option<&CodeProof>,
) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (before, owner) = find_to_manage(tx, by, id, seen)?;
    change::may_change(&before)?;
    check_grants(tx, by, &owner, form, Some(&before))?;
    let has_reserved = reserved(&before.access).chain(reserved(&form.access)).next().is_some();
    let new_reserved = reserved(&form.access).any(|scope| !reserved(&before.access).any(|had| had == scope));
    // A code is asked for granting a reserved scope, not for a comment on a key that has one.
    let enough = CodeProof(());
    guard_reserved(tx, by, &owner, has_reserved, if new_reserved { proof } else { Some(&enough) })?;
    let policy = member(by)?.tenant.policy();
    let mut key = expiry.map_or_else(|| Ok(before.clone()), |choice| change::edit_expiry(&before, choice, &policy, tx.now()))?;
    if let Some(name) = &form.name {
        key.name = name.clone();
    }
    key.comment.clone_from(&form.comment);
    key.access = form.access.clone();
    key.resources = form.resources.clone();
    key.ip_ranges = form.ip_ranges.clone();
    key.notice_recipients.clone_from(&form.notice_recipients);
    let changes = difference(&before, &key);
    if changes.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(before);
    }
    save(tx, &mut key, &owner)?;
    note(tx, by, Action::KeyEdited, &key, changes)?;
    Ok(key)
}

/// What differs, each as `{"from": …, "to": …}`.
fn difference(before: &Key, after: &Key) -> serde_json::Value {
    let pairs = [
        ("name", json!(before.name), json!(after.name)),
        ("comment", json!(before.comment), json!(after.comment)),
        ("access", access_words(&before.access), access_words(&after.access)),
        ("resources", json!(before.resources.chosen()), json!(after.resources.chosen())),
        ("ip_ranges", json!(before.ip_ranges), json!(after.ip_ranges)),
        ("notice_recipients", json!(before.notice_recipients), json!(after.notice_recipients)),
        ("expires_at", json!(before.life.expires_at), json!(after.life.expires_at)),
    ];
    pairs.into_iter().filter(|(_, from, to)| from != to).map(|(name, from, to)| (name.to_owned(), json!({ "from": from, "to": to }))).collect()
}

/// Gives the key a new secret; ID and all that it is tied to stay. Always asks for a TOTP code.
///
/// # Errors
/// See [`KeyError`].
pub fn roll(
    tx: &mut Tx<'_>,
    by: &By,
    id: KeyId,
    seen: i64,
    request: &roll::Request,
    form_id: &str,
    proof: Option<&CodeProof>,
) -> Result<Made, KeyError> {
    let by = &in_turn(tx, by)?;
    if form_ids::result(tx, member(by)?.account, form_id)?.is_some() {
        return Err(KeyError::AlreadyDone(id.to_string()));
    }
    let (before, owner) = find_to_manage(tx, by, id, seen)?;
    let (key, stays) = change::roll(&before, request, &member(by)?.tenant.policy(), &member(by)?.name, tx.now())?;
    if proof.is_none() {
        return Err(KeyError::NeedsCode);
    }
    guard_reserved(tx, by, &owner, reserved(&before.access).next().is_some(), proof)?;
    let token = Token::make(Purpose::Key, id, &mut chance::fill);
    let (hash, pepper) = hashed(tx, &key, &token)?;
    if !keys::replace_secret(tx, &key, before.version, &owner, stays, hash, pepper)? {
        return Err(KeyError::Changed);
    }
    form_ids::use_up(tx, member(by)?.account, form_id, id.as_str())?;
    let (keeps, stops_at) = match stays {
        Stays::None => ("none", tx.now()),
        Stays::Current(until) => ("latest", until),
        Stays::Old(until) => ("original", until),
    };
    let details = json!({
        "old_secret_stops_at": stops_at, "keep": keeps, "compromised": request.stop == roll::Stop::Compromised,
        "expires_at": { "from": before.life.expires_at, "to": key.life.expires_at },
    });
    note(tx, by, Action::KeyRolled, &key, details)?;
    let key = keys::find(tx, &member(by)?.reach(), id)?.ok_or(KeyError::NoSuchKey)?;
    Ok(Made { key, token })
}

/// Ends a running overlap now: for who may roll, or may stop the key.
///
/// # Errors
/// See [`KeyError`].
pub fn finish(tx: &mut Tx<'_>, by: &By, id: KeyId) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (before, owner) = find(tx, by, id)?;
    if !member(by)?.may_manage(before.owner) && !member(by)?.may(Permission::KeysRevokeAny) {
        return Err(KeyError::NotAllowed);
    }
    let planned = change::may_finish(&before, tx.now())?;
    let key = change::finish(&before, tx.now())?;
    if !keys::finish(tx, &key, before.version, &owner)? {
        return Err(KeyError::Changed);
    }
    note(tx, by, Action::KeyFinished, &key, json!({ "old_secret_stops_at": { "from": planned, "to": tx.now() } }))?;
    Ok(key)
}

/// Starts the original lifetime again from now, with the same secret.
///
/// # Errors
/// See [`KeyError`].
pub fn renew(tx: &mut Tx<'_>, by: &By, id: KeyId, seen: i64, proof: Option<&CodeProof>) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (before, owner) = find_to_manage(tx, by, id, seen)?;
    let tenant = &member(by)?.tenant;
    let mut key = change::renew(&before, &tenant.policy(), tx.now())?;
    if tenant.settings.code_actions.create_and_renew && proof.is_none() {
        return Err(KeyError::NeedsCode);
    }
    save(tx, &mut key, &owner)?;
    note(tx, by, Action::KeyRenewed, &key, json!({ "expires_at": { "from": before.life.expires_at, "to": key.life.expires_at } }))?;
    Ok(key)
}

/// Locks a key for a while; no clock stops. The owner reads the reason, which may be empty.
///
/// # Errors
/// See [`KeyError`].
pub fn disable(tx: &mut Tx<'_>, by: &By, id: KeyId, reason: &str) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (before, owner) = find(tx, by, id)?;
    if !member(by)?.may_stop(before.owner) {
        return Err(KeyError::NotAllowed);
    }
    let mut key = change::disable(&before, actor(by), reason, tx.now())?;
    save(tx, &mut key, &owner)?;
    note(tx, by, Action::KeyDisabled, &key, json!({ "reason": reason }))?;
    Ok(key)
}

/// Lifts a disable. One by somebody else than the owner is lifted only by who may revoke or manage any key.
///
/// # Errors
/// See [`KeyError`].
pub fn enable(tx: &mut Tx<'_>, by: &By, id: KeyId, seen: i64, proof: Option<&CodeProof>) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (before, owner) = find(tx, by, id)?;
    let acting = member(by)?;
    if !acting.may_enable(&before) {
        return Err(match acting.disabled_by_another(&before) {
            Some(actor) if acting.may_stop(before.owner) => KeyError::DisabledByAnother(actor.name.clone()),
            _ => KeyError::NotAllowed,
        });
    }
    if before.version != seen {
        return Err(KeyError::Changed);
    }
    let mut key = change::enable(&before, &acting.tenant.policy(), tx.now())?;
    if acting.tenant.settings.code_actions.enable && proof.is_none() {
        return Err(KeyError::NeedsCode);
    }
    let enough = CodeProof(());
    guard_reserved(tx, by, &owner, reserved(&key.access).next().is_some(), Some(&enough))?;
    save(tx, &mut key, &owner)?;
    note(tx, by, Action::KeyEnabled, &key, json!({}))?;
    Ok(key)
}

/// Stops a key for good, with any secret it has, whatever the key is now.
///
/// # Errors
/// See [`KeyError`].
pub fn revoke(tx: &mut Tx<'_>, by: &By, id: KeyId, reason: &str) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (key, owner) = find(tx, by, id)?;
    if !member(by)?.may_stop(key.owner) {
        return Err(KeyError::NotAllowed);
    }
    stop_for_good(tx, by, &key, &owner, reason)
}

/// Stops a key, and tells its owner.
pub(super) fn stop_for_good(tx: &mut Tx<'_>, by: &By, key: &Key, owner: &Owner, reason: &str) -> Result<Key, KeyError> {
    let key = stop(tx, by, key, owner, reason)?;
    note(tx, by, Action::KeyRevoked, &key, json!({ "reason": reason }))?;
    Ok(key)
}

/// Stops a key that is deleted in the same transaction: its deletion is what is told of. One that was revoked stays as it is.
pub(super) fn stop_before_deletion(tx: &mut Tx<'_>, by: &By, key: Key, owner: &Owner) -> Result<Key, KeyError> {
    if change::may_change(&key).is_err() {
        return Ok(key);
    }
    let key = stop(tx, by, &key, owner, "deleted")?;
    let event = by.event(Action::KeyRevoked, ("key", key.id.as_str(), key.name.as_str()), json!({ "reason": "deleted" }));
    events::add(tx, key.tenant, &event)?;
    Ok(key)
}

fn stop(tx: &mut Tx<'_>, by: &By, key: &Key, owner: &Owner, reason: &str) -> Result<Key, KeyError> {
    let mut key = change::revoke(key, actor(by), reason, tx.now())?;
    save(tx, &mut key, owner)?;
    key.version += 1;
    Ok(key)
}

/// Removes a key from the grid; one that was not revoked is revoked first. Its events stay.
///
/// # Errors
/// See [`KeyError`].
pub fn delete(tx: &mut Tx<'_>, by: &By, id: KeyId, seen: i64) -> Result<Key, KeyError> {
    let by = &in_turn(tx, by)?;
    let (key, owner) = find(tx, by, id)?;
    if !member(by)?.may_delete(key.owner) {
        return Err(KeyError::NotAllowed);
    }
    if key.version != seen {
        return Err(KeyError::Changed);
    }
    let key = stop_before_deletion(tx, by, key, &owner)?;
    keys::delete(tx, &key, &owner)?;
    note(tx, by, Action::KeyDeleted, &key, json!({ "owner": owner.name }))?;
    Ok(key)
}
