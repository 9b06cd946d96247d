//! What a person signs in with: password, TOTP, recovery codes; and the check of a fresh code that other actions ask for.

use serde_json::{Value, json};

use crate::{
    chance,
    domain::{
        event::{Action, Event, EventActor},
        ids::{AccountId, KeyId},
        mail::SecurityChange,
        password::{self, PasswordError, SHORTEST},
        token::{Purpose, Token, fresh_id},
        totp::{self, Code, RECOVERY_CODES, Seed},
    },
    store::{
        StoreError, Tx,
        accounts::{self, Account},
        events, links, members, sessions, sign_in_failures,
    },
};

use super::{
    By, CodeProof, Who, mail,
    sign_in::{self, Opened, recovery_hash},
};

/// How often a session may be wrong about a code.
const WRONG_CODES: i64 = 5;

/// What is wrong with a code, in words for its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CodeError {
    #[error("Enter the six digits that the app shows.")]
    Malformed,
    #[error("This code is not right. Enter the code that the app shows now.")]
    Wrong,
    #[error("This recovery code is not right, or was used before.")]
    WrongRecovery,
    #[error("This code was already used. Wait for the next one.")]
    AlreadyUsed,
    #[error("Set up two-step sign-in first.")]
    NotSetUp,
    #[error("Too many wrong codes: this session has ended. Sign in again.")]
    Ended,
}

impl CodeError {
    /// Whether it counts as a wrong guess.
    pub fn counts(&self) -> bool {
        matches!(self, Self::Wrong | Self::WrongRecovery)
    }
}

/// The step that a typed code is of.
pub(super) fn step_of(tx: &Tx<'_>, account: &Account, typed: &str) -> Result<i64, CodeError> {
    let sealed = account.totp_secret.as_deref().ok_or(CodeError::NotSetUp)?;
    matched_step(tx, account.id, sealed, typed)
}

fn matched_step(tx: &Tx<'_>, account: AccountId, sealed: &[u8], typed: &str) -> Result<i64, CodeError> {
    let code = Code::parse(typed).ok_or(CodeError::Malformed)?;
    let seed = Seed::open(sealed, tx.secrets().totp_key(), account).ok_or(CodeError::NotSetUp)?;
    seed.matched_step(code, tx.now()).ok_or(CodeError::Wrong)
}

/// Checks a fresh code of whoever acts, in the transaction of what it is asked for; each step is accepted once. A wrong code is
/// counted and ends the session at five, so the caller must commit what this returns inside `Ok`:
///
/// ```ignore
/// let proof = match credentials::confirm_code(tx, by, &typed)? {
///     Ok(proof) => proof,
///     Err(wrong) => return Ok(Err(wrong)),
/// };
/// ```
///
/// Pages have `Member::confirmed` for this.
///
/// # Errors
/// The database is away; the inner error is what the person did wrong.
pub fn confirm_code(tx: &mut Tx<'_>, by: &By, typed: &str) -> Result<Result<CodeProof, CodeError>, StoreError> {
    let id = match &by.who {
        Who::Member(acting) => acting.account,
        Who::Account { id, .. } => *id,
        _ => return Ok(Err(CodeError::NotSetUp)),
    };
    let account = accounts::get(tx, id)?;
    let error = match step_of(tx, &account, typed) {
        Ok(step) if accounts::accept_step(tx, id, step)? => return Ok(Ok(CodeProof::given())),
        Ok(_) => CodeError::AlreadyUsed,
        Err(error) => error,
    };
    if error.counts() {
        sign_in_failures::count(tx, &account.email_canonical, &sign_in::network(by.address))?;
        if let Some(session) = &by.session
            && sessions::count_wrong_code(tx, session)? >= WRONG_CODES
        {
            sessions::end(tx, session)?;
            note(tx, by, &account, Action::SessionEnded, &json!({ "why": "five wrong codes" }))?;
            return Ok(Err(CodeError::Ended));
        }
    }
    Ok(Err(error))
}

/// Writes an event of an account into the chain of each tenant that it is in, else into the installation's.
pub(super) fn note(tx: &mut Tx<'_>, by: &By, account: &Account, action: Action, details: &Value) -> Result<(), StoreError> {
    let event = |kind: &str, id: String| Event {
        at: by.now,
        actor: actor(by, kind, &id, account, action),
        action,
        target_kind: kind.to_owned(),
        target_id: id,
        target_name: account.name.clone(),
        ip: by.address.map(|address| address.to_string()).unwrap_or_default(),
        user_agent: by.user_agent.clone(),
        details: details.clone(),
    };
    let members = accounts::members_of(tx, account.id)?;
    if members.is_empty() {
        let kind = if account.installation_owner { "installation_owner" } else { "account" };
        return events::add_to_installation(tx, &event(kind, account.id.to_string()));
    }
    for (tenant, member) in members {
        events::add(tx, tenant, &event("member", member.to_string()))?;
    }
    Ok(())
}

/// The person stands as the actor of what they do to their own account; a failed sign-in was by nobody known.
fn actor(by: &By, kind: &str, id: &str, account: &Account, action: Action) -> EventActor {
    match &by.who {
        _ if action == Action::SignInFailed => EventActor { kind: "visitor".into(), id: String::new(), name: "Somebody".into() },
        Who::Link(_) | Who::Command(_) => by.actor(),
        _ => EventActor { kind: kind.to_owned(), id: id.to_owned(), name: account.name.clone() },
    }
}

/// Names and addresses that a password must not be made of.
///
/// # Errors
/// The database is away.
pub fn password_context(db: &mut crate::store::Db, account: &Account) -> Result<Vec<String>, StoreError> {
    let mut words = vec![account.email.clone(), account.name.clone()];
    for membership in members::memberships(db, account.id)? {
        words.extend([membership.name, membership.slug]);
    }
    Ok(words)
}

/// Whether the shorter passwords will do: TOTP is set up, or required.
///
/// # Errors
/// The database is away.
pub fn has_second_factor(db: &mut crate::store::Db, account: &Account) -> Result<bool, StoreError> {
    Ok(account.has_totp() || account.installation_owner || sign_in::requires_totp(db, account.id)?)
}

/// A password that was checked and hashed.
pub struct NewPassword {
    hash: String,
    length: i64,
}

impl NewPassword {
    /// Checks and hashes a password. It takes as long as a hash does: call it off the async threads, in turn.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub fn make(typed: &str, second_factor: bool, context: &[String]) -> Result<Self, PasswordError> {
        let context: Vec<&str> = context.iter().map(String::as_str).collect();
        password::check(typed, second_factor, &context)?;
        let hash = password::hash(typed, &chance::bytes()).ok_or(PasswordError::TooLong)?;
        Ok(Self { hash, length: i64::try_from(typed.chars().count()).unwrap_or(i64::MAX) })
    }

    /// Makes it the password of an account that has none yet.
    ///
    /// # Errors
    /// The database is away.
    pub fn keep(&self, tx: &mut Tx<'_>, account: AccountId) -> Result<(), StoreError> {
        accounts::set_password(tx, account, &self.hash, self.length)
    }
}

/// Changes the password of whoever is signed in; every other session ends, and this one is renewed. `None` where the current
/// password, which the caller has looked at, is no longer `seen`.
///
/// # Errors
/// The database is away.
pub fn change_password(tx: &mut Tx<'_>, by: &By, account: AccountId, seen: Option<&str>, new: &NewPassword) -> Result<Option<Opened>, StoreError> {
    let account = accounts::get(tx, account)?;
    if account.password_hash.as_deref() != seen {
        return Ok(None);
    }
    set_password(tx, by, &account, new)?;
    let account = accounts::get(tx, account.id)?;
    sign_in::renew(tx, by, &account).map(Some)
}

fn set_password(tx: &mut Tx<'_>, by: &By, account: &Account, new: &NewPassword) -> Result<(), StoreError> {
    accounts::set_password(tx, account.id, &new.hash, new.length)?;
    sessions::end_all(tx, account.id, None)?;
    note(tx, by, account, Action::PasswordChanged, &json!({}))?;
    mail::tell_account(tx, by, account, SecurityChange::Password)
}

/// A new link of one use; the token is in the answer alone.
///
/// # Errors
/// The database is away.
pub(super) fn make_link(tx: &mut Tx<'_>, purpose: Purpose, account: Option<AccountId>) -> Result<Token, StoreError> {
    let token = Token::make(purpose, fresh_id(&mut chance::fill), &mut chance::fill);
    let hash = link_hash(tx.secrets(), purpose, token.reveal());
    let until = tx.now() + chrono::Duration::hours(1);
    links::replace(tx, purpose, &hash, account, until)?;
    links::mark_shown(tx, &hash)?;
    Ok(token)
}

/// The keyed hash that a link's token is stored as.
pub fn link_hash(secrets: &crate::secrets::Secrets, purpose: Purpose, token: &str) -> [u8; 32] {
    secrets.keyed(purpose.prefix(), token.as_bytes())
}

/// A link to set a new password, for one hour; earlier ones die. `None` where there is no such account.
///
/// # Errors
/// The database is away.
pub fn start_reset(tx: &mut Tx<'_>, email: &str) -> Result<Option<Token>, StoreError> {
    match accounts::by_email(tx, email)? {
        Some(account) => make_link(tx, Purpose::Reset, Some(account.id)).map(Some),
        None => Ok(None),
    }
}

/// Sets a password through a link: the link is used up, every session ends, TOTP stays. `None` where the link no longer works.
///
/// # Errors
/// The database is away.
pub fn reset_password(tx: &mut Tx<'_>, by: &By, token: &str, new: &NewPassword) -> Result<Option<()>, StoreError> {
    let hash = link_hash(tx.secrets(), Purpose::Reset, token);
    let now = tx.now();
    let Some(link) = links::find(tx, Purpose::Reset, &hash, now)? else { return Ok(None) };
    let Some(account) = link.account else { return Ok(None) };
    if !links::use_up(tx, Purpose::Reset, &hash)? {
        return Ok(None);
    }
    if link.mailed {
        accounts::mail_opened(tx, account)?;
    }
    let account = accounts::get(tx, account)?;
    set_password(tx, by, &account, new)?;
    Ok(Some(()))
}

/// Begins to set up TOTP: a new secret waits for its first code. One that waits already is kept, so that a reload shows the same.
///
/// # Errors
/// The database is away.
pub fn begin_totp(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<Seed>, StoreError> {
    let account = accounts::get(tx, account)?;
    if let Some(seed) = pending_seed(tx.secrets(), &account) {
        return Ok(Some(seed));
    }
    let seed = Seed::from_random(chance::bytes());
    let Some(sealed) = seed.seal(tx.secrets().totp_key(), account.id, chance::bytes()) else { return Ok(None) };
    accounts::set_pending_totp(tx, account.id, Some(&sealed))?;
    Ok(Some(seed))
}

/// The secret that waits for its first code.
pub fn pending_seed(secrets: &crate::secrets::Secrets, account: &Account) -> Option<Seed> {
    account.totp_pending.as_deref().and_then(|sealed| Seed::open(sealed, secrets.totp_key(), account.id))
}

/// What setting up TOTP gives: the recovery codes, shown once, and a new session.
pub struct Enrolled {
    /// Ten codes.
    pub recovery_codes: Vec<String>,
    /// The session that goes on.
    pub opened: Opened,
}

/// Turns TOTP on with the first code of the app. All other sessions end.
///
/// # Errors
/// The database is away; the inner error is what the person did wrong.
pub fn enrol_totp(tx: &mut Tx<'_>, by: &By, account: AccountId, typed: &str) -> Result<Result<Enrolled, CodeError>, StoreError> {
    let account = accounts::get(tx, account)?;
    let Some(pending) = account.totp_pending.clone() else { return Ok(Err(CodeError::NotSetUp)) };
    let step = match matched_step(tx, account.id, &pending, typed) {
        Ok(step) => step,
        Err(error) => {
            if error.counts() {
                sign_in_failures::count(tx, &account.email_canonical, &sign_in::network(by.address))?;
            }
            return Ok(Err(error));
        }
    };
    if !accounts::enrol_totp(tx, account.id, &pending, step)? {
        return Ok(Err(CodeError::NotSetUp));
    }
    note(tx, by, &account, Action::TotpEnrolled, &json!({}))?;
    mail::tell_account(tx, by, &account, SecurityChange::TotpEnrolled)?;
    let recovery_codes = fresh_recovery_codes(tx, by, &account)?;
    sessions::end_all(tx, account.id, by.session.as_ref())?;
    let account = accounts::get(tx, account.id)?;
    let opened = sign_in::renew(tx, by, &account)?;
    Ok(Ok(Enrolled { recovery_codes, opened }))
}

/// Ten new recovery codes in the place of all before.
///
/// # Errors
/// The database is away.
pub fn new_recovery_codes(tx: &mut Tx<'_>, by: &By, account: AccountId, _proof: CodeProof) -> Result<Vec<String>, StoreError> {
    let account = accounts::get(tx, account)?;
    mail::tell_account(tx, by, &account, SecurityChange::RecoveryCodes)?;
    fresh_recovery_codes(tx, by, &account)
}

fn fresh_recovery_codes(tx: &mut Tx<'_>, by: &By, account: &Account) -> Result<Vec<String>, StoreError> {
    let codes = totp::recovery_codes(&chance::bytes());
    let hashes: Vec<[u8; 32]> =
        codes.iter().filter_map(|code| totp::plain_recovery_code(code)).map(|plain| recovery_hash(tx, account.id, &plain)).collect();
    accounts::set_recovery_codes(tx, account.id, &hashes)?;
    note(tx, by, account, Action::RecoveryCodesMade, &json!({ "count": RECOVERY_CODES }))?;
    Ok(codes)
}

/// Takes TOTP away: from oneself with a code, or by the operator. Where the password is under 15 characters, the next sign-in asks
/// for a new one. All other sessions end.
///
/// # Errors
/// The database is away.
pub fn remove_totp(tx: &mut Tx<'_>, by: &By, account: AccountId) -> Result<(), StoreError> {
    let account = accounts::get(tx, account)?;
    accounts::remove_totp(tx, account.id)?;
    sessions::end_all(tx, account.id, by.session.as_ref())?;
    note(tx, by, &account, Action::TotpRemoved, &json!({}))?;
    mail::tell_account(tx, by, &account, SecurityChange::TotpRemoved)
}

/// Ends one session of an account by its name in the list.
///
/// # Errors
/// The database is away.
pub fn end_session(tx: &mut Tx<'_>, by: &By, account: &Account, session: &KeyId) -> Result<bool, StoreError> {
    let ended = sessions::end_named(tx, account.id, session.as_str())?;
    if ended {
        note(tx, by, account, Action::SessionEnded, &json!({}))?;
    }
    Ok(ended)
}

/// Ends all sessions of an account but the one that asks.
///
/// # Errors
/// The database is away.
pub fn end_other_sessions(tx: &mut Tx<'_>, by: &By, account: &Account) -> Result<usize, StoreError> {
    let count = sessions::end_all(tx, account.id, by.session.as_ref())?;
    if count > 0 {
        note(tx, by, account, Action::SessionEnded, &json!({ "count": count }))?;
    }
    Ok(count)
}

/// Whether a password of this length will do once TOTP is gone.
pub fn is_long_enough_alone(account: &Account) -> bool {
    usize::try_from(account.password_length).unwrap_or(0) >= SHORTEST
}
