//! Signing in and out: a password, then a code or recovery code; a new session at every step up.

use crate::{
    chance,
    domain::{
        event::Action,
        ids::AccountId,
        password::{self, SHORTEST},
        time::Time,
        token::{base62, fresh_id},
        totp,
    },
    store::{
        StoreError, Tx,
        accounts::{self, Account},
        members,
        sessions::{self, Session, Stage},
        sign_in_failures, tenants,
    },
};

use super::{
    By,
    credentials::{CodeError, note, step_of},
};

/// What a browser sends with an attempt.
#[derive(Debug, Clone)]
pub struct Client {
    /// The address as a person typed it, folded.
    pub email: String,
    /// The network that it comes from.
    pub network: String,
    /// What the cookie of a browser that signed in before carries.
    pub browser: Option<String>,
}

/// The network of an address: /24 for IPv4, /64 for IPv6.
pub fn network(address: Option<std::net::IpAddr>) -> String {
    let net = match address.map(|address| address.to_canonical()) {
        Some(std::net::IpAddr::V4(v4)) => ipnet::Ipv4Net::new(v4, 24).map(|net| net.trunc().to_string()),
        Some(std::net::IpAddr::V6(v6)) => ipnet::Ipv6Net::new(v6, 64).map(|net| net.trunc().to_string()),
        None => Ok("unknown".to_owned()),
    };
    net.unwrap_or_else(|_| "unknown".to_owned())
}

/// An attempt that may go on to look at the password.
pub struct Attempt {
    /// The account, where there is one.
    pub account: Option<Account>,
    /// Its place among the failures, until it is taken back.
    counted: Option<i64>,
}

/// Takes an attempt back that nobody looked at: a busy server makes no password wrong.
///
/// # Errors
/// The database is away.
pub fn take_back(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<(), StoreError> {
    attempt.counted.map_or(Ok(()), |counted| sign_in_failures::forgive(tx, counted))
}

fn browser_hash(tx: &Tx<'_>, cookie: &str) -> [u8; 32] {
    tx.secrets().keyed("browser", cookie.as_bytes())
}

/// Whether the browser has signed in to the account before.
fn knows(tx: &mut Tx<'_>, account: AccountId, client: &Client) -> Result<bool, StoreError> {
    let Some(cookie) = &client.browser else { return Ok(false) };
    let hash = browser_hash(tx, cookie);
    accounts::knows_browser(tx, account, &hash)
}

/// Counts an attempt, before anything is looked at. One that is refused goes on like any other, so that nothing tells it apart.
///
/// # Errors
/// The database is away.
pub fn attempt(tx: &mut Tx<'_>, client: &Client) -> Result<Attempt, StoreError> {
    let account = accounts::by_email(tx, &client.email)?;
    let known = match &account {
        Some(account) => knows(tx, account.id, client)?,
        None => false,
    };
    let counted = sign_in_failures::attempt(tx, &client.email, &client.network, known)?;
    Ok(Attempt { account: account.filter(|_| counted.is_some()), counted })
}

/// A session that was just made: what its cookie carries, and what comes next.
pub struct Opened {
    /// For the cookie; kept nowhere else.
    pub cookie: String,
    /// How far the sign-in has come.
    pub stage: Stage,
    /// For the cookie of a browser that has signed in, where it is new.
    pub browser: Option<String>,
    /// The account.
    pub account: AccountId,
}

fn open(tx: &mut Tx<'_>, by: &By, account: AccountId, stage: Stage) -> Result<String, StoreError> {
    let cookie = base62(43, &mut chance::fill);
    let session = Session {
        id: tx.secrets().keyed("session", cookie.as_bytes()),
        account,
        public_id: fresh_id(&mut chance::fill).to_string(),
        stage,
        created_at: tx.now(),
        seen_at: tx.now(),
        ip: by.address.map(|address| address.to_string()).unwrap_or_default(),
        user_agent: by.user_agent.clone(),
        wrong_codes: 0,
    };
    sessions::create(tx, &session)?;
    Ok(cookie)
}

/// What follows a right password. `matched` and `stronger` come from looking at it; `None` is the one answer for every reason
/// not to sign in.
///
/// # Errors
/// The database is away.
pub fn with_password(
    tx: &mut Tx<'_>,
    by: &By,
    client: &Client,
    attempt: &Attempt,
    matched: bool,
    stronger: Option<&str>,
) -> Result<Option<Opened>, StoreError> {
    let account = match &attempt.account {
        // Read again: it may have changed while the password was looked at.
        Some(seen) => Some(accounts::get(tx, seen.id)?).filter(|account| account.password_hash == seen.password_hash),
        None => None,
    };
    let usable = match &account {
        Some(account) if account.installation_owner || has_an_open_tenant(tx, account.id)? => true,
        // Somebody who has left every tenant signs in to accept an invitation.
        Some(account) => matched && super::invitations::waits_for(tx, &account.email_canonical)?,
        None => false,
    };
    let Some(account) = account.filter(|_| matched && usable) else {
        failed(tx, by, client, attempt.account.as_ref())?;
        return Ok(None);
    };
    if let Some(attempt) = attempt.counted {
        sign_in_failures::forgive(tx, attempt)?;
    }
    if let (Some(hash), Some(before)) = (stronger, &account.password_hash) {
        accounts::upgrade_hash(tx, account.id, before, hash)?;
    }
    if account.has_totp() {
        let cookie = open(tx, by, account.id, Stage::Code)?;
        return Ok(Some(Opened { cookie, stage: Stage::Code, browser: None, account: account.id }));
    }
    complete(tx, by, client, &account, None).map(Some)
}

/// Whether there is a tenant that the account may open: one that is not suspended, or one that it looks after.
fn has_an_open_tenant(tx: &mut Tx<'_>, account: AccountId) -> Result<bool, StoreError> {
    for membership in members::memberships(tx, account)? {
        let open = match members::acting(tx, &membership.slug, account)? {
            Some(acting) => acting.tenant.suspended_at.is_none() || acting.is_admin(),
            None => false,
        };
        if open {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a complete sign-in still asks for.
pub(super) fn stage_of(tx: &mut Tx<'_>, account: &Account) -> Result<Stage, StoreError> {
    if account.has_totp() {
        return Ok(Stage::Full);
    }
    if account.installation_owner || requires_totp(tx, account.id)? {
        return Ok(Stage::Enrol);
    }
    let short = usize::try_from(account.password_length).unwrap_or(0) < SHORTEST;
    Ok(if short { Stage::NewPassword } else { Stage::Full })
}

/// Whether a tenant of the account asks every member for TOTP.
///
/// # Errors
/// The database is away.
pub fn requires_totp(db: &mut crate::store::Db, account: AccountId) -> Result<bool, StoreError> {
    for membership in members::memberships(db, account)? {
        if tenants::get(db, membership.tenant)?.settings.require_totp {
            return Ok(true);
        }
    }
    Ok(false)
}

fn complete(tx: &mut Tx<'_>, by: &By, client: &Client, account: &Account, recovery: Option<i64>) -> Result<Opened, StoreError> {
    let stage = stage_of(tx, account)?;
    // A secret that was never confirmed does not outlive the session that asked for it.
    accounts::set_pending_totp(tx, account.id, None)?;
    if stage == Stage::Enrol {
        super::credentials::begin_totp(tx, account.id)?;
    }
    let cookie = open(tx, by, account.id, stage)?;
    sign_in_failures::forget(tx, &client.email, &client.network)?;
    let known = knows(tx, account.id, client)?;
    let browser = (!known).then(|| base62(32, &mut chance::fill));
    if let Some(browser) = &browser {
        let hash = browser_hash(tx, browser);
        accounts::know_browser(tx, account.id, &hash)?;
    }
    let details = match recovery {
        Some(left) => serde_json::json!({ "with": "recovery code", "recovery_codes_left": left }),
        None => serde_json::json!({ "with": if account.has_totp() { "password and code" } else { "password" } }),
    };
    note(tx, by, account, Action::SignedIn, &details)?;
    Ok(Opened { cookie, stage, browser, account: account.id })
}

/// Tells of a failed sign-in: the first within an hour, and the one that refuses the network.
fn failed(tx: &mut Tx<'_>, by: &By, client: &Client, account: Option<&Account>) -> Result<(), StoreError> {
    let now = tx.now();
    let count = sign_in_failures::in_an_hour(tx, &client.email, now)?;
    if !matches!(count, 1 | 5 | 20 | 100) {
        return Ok(());
    }
    let details = serde_json::json!({ "failures_in_an_hour": count });
    match account {
        Some(account) => note(tx, by, account, Action::SignInFailed, &details),
        None => {
            // What was typed as an address may be a password: it is not kept.
            let event = by.event(Action::SignInFailed, ("account", "", ""), details);
            crate::store::events::add_to_installation(tx, &event)
        }
    }
}

/// The second step: a code of the app, or a recovery code. The session of the first step ends, and a new one begins. A wrong code
/// is counted, so the caller must commit what this returns inside `Ok`.
///
/// # Errors
/// The database is away; the inner error is what the person did wrong.
pub fn with_code(tx: &mut Tx<'_>, by: &By, client: &Client, session: &[u8; 32], typed: &str) -> Result<Result<Opened, CodeError>, StoreError> {
    let Some(first) = sessions::find(tx, session)?.filter(|session| session.stage == Stage::Code) else { return Ok(Err(CodeError::Ended)) };
    let account = accounts::get(tx, first.account)?;
    let known = knows(tx, account.id, client)?;
    let Some(counted) = sign_in_failures::attempt(tx, &account.email_canonical, &client.network, known)? else {
        sessions::end(tx, session)?;
        return Ok(Err(CodeError::Ended));
    };
    let recovery = match totp::plain_recovery_code(typed) {
        Some(plain) => {
            let hash = recovery_hash(tx, account.id, &plain);
            if accounts::use_recovery_code(tx, account.id, &hash)? {
                Ok(Some(accounts::recovery_codes_left(tx, account.id)?))
            } else {
                Err(CodeError::WrongRecovery)
            }
        }
        None => match step_of(tx, &account, typed) {
            Ok(step) if accounts::accept_step(tx, account.id, step)? => Ok(None),
            Ok(_) => Err(CodeError::AlreadyUsed),
            Err(error) => Err(error),
        },
    };
    let client = Client { email: account.email_canonical.clone(), ..client.clone() };
    match recovery {
        Ok(left) => {
            sign_in_failures::forgive(tx, counted)?;
            sessions::end(tx, session)?;
            if left.is_some() {
                note(tx, by, &account, Action::RecoveryCodeUsed, &serde_json::json!({ "left": left }))?;
            }
            complete(tx, by, &client, &account, left).map(Ok)
        }
        Err(error) if error.counts() => {
            let wrong = sessions::count_wrong_code(tx, session)?;
            failed(tx, by, &client, Some(&account))?;
            if wrong >= 5 {
                sessions::end(tx, session)?;
                return Ok(Err(CodeError::Ended));
            }
            Ok(Err(error))
        }
        Err(error) => {
            sign_in_failures::forgive(tx, counted)?;
            Ok(Err(error))
        }
    }
}

pub(super) fn recovery_hash(tx: &Tx<'_>, account: AccountId, plain: &str) -> [u8; 32] {
    tx.secrets().keyed("recovery", format!("{account}\n{plain}").as_bytes())
}

/// Puts a new session in the place of one, after a step up within it.
///
/// # Errors
/// The database is away.
pub fn renew(tx: &mut Tx<'_>, by: &By, account: &Account) -> Result<Opened, StoreError> {
    if let Some(before) = &by.session {
        sessions::end(tx, before)?;
    }
    let stage = stage_of(tx, account)?;
    let cookie = open(tx, by, account.id, stage)?;
    Ok(Opened { cookie, stage, browser: None, account: account.id })
}

/// Signs out: the session is dead at once.
///
/// # Errors
/// The database is away.
pub fn out(tx: &mut Tx<'_>, by: &By, account: &Account) -> Result<(), StoreError> {
    let Some(session) = &by.session else { return Ok(()) };
    if sessions::end(tx, session)? {
        note(tx, by, account, Action::SignedOut, &serde_json::json!({}))?;
    }
    Ok(())
}

/// The oldest moment that a session which still works can be from.
pub fn oldest(now: Time, session_max: chrono::Duration) -> Time {
    now - session_max
}

/// Looks at a password, at the cost of one hash whatever is known of the account. Returns whether it matched, and a stronger hash
/// where the stored one was made with less work than today's.
pub fn look_at(typed: &str, stored: Option<&str>, salt: &[u8; 16]) -> (bool, Option<String>) {
    if password::is_too_long(typed) {
        return (false, None);
    }
    let matched = password::verify(typed, stored);
    let stronger = stored.filter(|stored| matched && password::is_weak(stored)).and_then(|_| password::hash(typed, salt));
    (matched, stronger)
}
