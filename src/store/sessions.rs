//! Sessions. Stored is a keyed hash of what the cookie carries, so a copy of the table opens none.

use diesel::prelude::*;

use super::{
    Db, StoreError, Tx, micros, moment,
    schema::{members, sessions as table},
};
use crate::domain::{
    ids::{AccountId, TenantId},
    time::Time,
};

/// How far a sign-in has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The password was right; a code must follow.
    Code,
    /// Signed in, but two-step sign-in must be set up before anything else.
    Enrol,
    /// Signed in, but a new password must be set before anything else.
    NewPassword,
    /// Signed in.
    Full,
}

impl Stage {
    const ALL: [(Self, &'static str); 4] = [(Self::Code, "code"), (Self::Enrol, "enrol"), (Self::NewPassword, "new_password"), (Self::Full, "full")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, word)| word)
    }
}

/// One session.
#[derive(Debug, Clone)]
pub struct Session {
    /// The keyed hash of the cookie.
    pub id: [u8; 32],
    /// Whose it is.
    pub account: AccountId,
    /// What the list of sessions names it by.
    pub public_id: String,
    /// How far the sign-in has come.
    pub stage: Stage,
    /// When it was made.
    pub created_at: Time,
    /// When it was last used.
    pub seen_at: Time,
    /// The client's address at sign-in.
    pub ip: String,
    /// The client's user agent at sign-in.
    pub user_agent: String,
    /// How many wrong codes it has seen.
    pub wrong_codes: i64,
}

type Row = (Vec<u8>, i64, String, String, i64, i64, String, String, i64);

fn session(row: Row) -> Result<Session, StoreError> {
    let (id, account, public_id, stage, created_at, seen_at, ip, user_agent, wrong_codes) = row;
    let stage =
        Stage::ALL.iter().find(|(_, word)| *word == stage).map(|(stage, _)| *stage).ok_or_else(|| StoreError::Row("a session's stage".into()))?;
    let id = id.try_into().map_err(|_| StoreError::Row("a session's ID".into()))?;
    Ok(Session {
        id,
        account: AccountId(account),
        public_id,
        stage,
        created_at: moment(created_at),
        seen_at: moment(seen_at),
        ip,
        user_agent,
        wrong_codes,
    })
}

/// Adds a session.
///
/// # Errors
/// The database is away.
pub fn create(tx: &mut Tx<'_>, session: &Session) -> Result<(), StoreError> {
    diesel::insert_into(table::table)
        .values((
            table::id.eq(session.id.to_vec()),
            table::account_id.eq(session.account.0),
            table::public_id.eq(&session.public_id),
            table::stage.eq(session.stage.word()),
            table::created_at.eq(micros(session.created_at)),
            table::seen_at.eq(micros(session.seen_at)),
            table::ip.eq(&session.ip),
            table::user_agent.eq(&session.user_agent),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The session of a cookie, by its keyed hash.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, id: &[u8; 32]) -> Result<Option<Session>, StoreError> {
    let row: Option<Row> = table::table.find(id.to_vec()).first(db.conn()).optional()?;
    row.map(session).transpose()
}

/// An account's sessions that have signed in, newest first.
///
/// # Errors
/// The database is away.
pub fn of_account(db: &mut Db, account: AccountId) -> Result<Vec<Session>, StoreError> {
    let rows: Vec<Row> = table::table
        .filter(table::account_id.eq(account.0).and(table::stage.ne(Stage::Code.word())))
        .order(table::created_at.desc())
        .limit(100)
        .load(db.conn())?;
    rows.into_iter().map(session).collect()
}

/// Notes that a session was used.
///
/// # Errors
/// The database is away.
pub fn touch(tx: &mut Tx<'_>, id: &[u8; 32]) -> Result<(), StoreError> {
    let now = micros(tx.now());
    diesel::update(table::table.find(id.to_vec())).set(table::seen_at.eq(now)).execute(tx.conn())?;
    Ok(())
}

/// Counts a wrong code; returns how many it has seen now. 0 where the session has ended.
///
/// # Errors
/// The database is away.
pub fn count_wrong_code(tx: &mut Tx<'_>, id: &[u8; 32]) -> Result<i64, StoreError> {
    diesel::update(table::table.find(id.to_vec())).set(table::wrong_codes.eq(table::wrong_codes + 1)).execute(tx.conn())?;
    Ok(table::table.find(id.to_vec()).select(table::wrong_codes).first(tx.conn()).optional()?.unwrap_or(0))
}

/// Ends a session; `false` where it had ended.
///
/// # Errors
/// The database is away.
pub fn end(tx: &mut Tx<'_>, id: &[u8; 32]) -> Result<bool, StoreError> {
    Ok(diesel::delete(table::table.find(id.to_vec())).execute(tx.conn())? == 1)
}

/// Ends a session of an account by the name it has in the list.
///
/// # Errors
/// The database is away.
pub fn end_named(tx: &mut Tx<'_>, account: AccountId, public_id: &str) -> Result<bool, StoreError> {
    Ok(diesel::delete(table::table.filter(table::account_id.eq(account.0).and(table::public_id.eq(public_id)))).execute(tx.conn())? > 0)
}

/// Ends all sessions of an account, but for `kept`.
///
/// # Errors
/// The database is away.
pub fn end_all(tx: &mut Tx<'_>, account: AccountId, kept: Option<&[u8; 32]>) -> Result<usize, StoreError> {
    let kept = kept.map(|id| id.to_vec()).unwrap_or_default();
    Ok(diesel::delete(table::table.filter(table::account_id.eq(account.0).and(table::id.ne(kept)))).execute(tx.conn())?)
}

/// Forgets sessions that were made before `oldest`, whatever they were.
///
/// # Errors
/// The database is away.
pub fn purge(tx: &mut Tx<'_>, oldest: Time) -> Result<usize, StoreError> {
    Ok(diesel::delete(table::table.filter(table::created_at.lt(micros(oldest)))).execute(tx.conn())?)
}

/// Since when an account's sessions are shut out of a tenant until a new sign-in.
///
/// # Errors
/// The database is away.
pub fn shut_since(db: &mut Db, tenant: TenantId, account: AccountId) -> Result<Option<Time>, StoreError> {
    let at: Option<Option<i64>> = members::table
        .filter(members::tenant_id.eq(tenant.number()).and(members::account_id.eq(account.0)))
        .select(members::shut_at)
        .first(db.conn())
        .optional()?;
    Ok(at.flatten().map(moment))
}
