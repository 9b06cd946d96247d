//! The outbox: mails are written in the transaction of what causes them and sent afterwards, by whichever process takes them.
//!
//! A mail waits while `next_at` is set. Who takes it moves `next_at` to the end of a lease and puts its own name on the row, so
//! that a mail whose sender died is tried again, and a sender that was too slow changes nothing any more.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, NaiveTime};
use diesel::prelude::*;

use super::{
    AnyConn, Db, StoreError, Tx,
    installation::InstallationReach,
    micros, moment, per_backend,
    schema::{mails as table, notices},
};
use crate::domain::{
    ids::{AccountId, KeyId, MailId, NoticeId, TenantId},
    mail::{Line, Mail, Rank, Role, Shown, TRIED_FOR},
    time::{Time, days},
};

/// How many digests are written by one statement.
const DIGESTS_AT_A_TIME: usize = 100;

/// How long a sender has for a mail before another may take it.
pub const LEASE: Duration = Duration::minutes(10);

/// Whom a mail goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    /// The address.
    pub address: String,
    /// The person's name; empty where it is not known.
    pub name: String,
}

/// A mail to send.
#[derive(Debug, Clone)]
pub struct NewMail<'a> {
    /// The tenant on whose Mail page it stands.
    pub tenant: Option<TenantId>,
    /// The account that it is about, where it is about one.
    pub account: Option<AccountId>,
    /// The recipient.
    pub to: &'a To,
    /// What it tells of.
    pub mail: &'a Mail,
    /// What it is the only mail of: a second one with the same words here is not written.
    pub once: &'a str,
}

/// A line of a digest to send.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// The key.
    pub key: KeyId,
    /// The stored word of the stage: `before_14`, `expired`, `grace_ends`.
    pub stage: String,
    /// The expiry that it tells of.
    pub expires_at: Time,
    /// Why the recipient gets it.
    pub role: Role,
}

/// A mail in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The mail; links and the Message-ID are derived from it.
    pub id: MailId,
    /// The tenant on whose Mail page it stands.
    pub tenant: Option<TenantId>,
    /// The account that it is about.
    pub account: Option<AccountId>,
    /// What it tells of.
    pub mail: Mail,
    /// The recipient.
    pub to: To,
    /// When it was written.
    pub created_at: Time,
    /// When it is to leave; moved by *Send again*.
    pub due_at: Time,
    /// When it is tried next, while it waits.
    pub next_at: Option<Time>,
    /// When a sender first had it, or had it after *Send again*.
    pub taken_at: Option<Time>,
    /// How often it was tried.
    pub tries: i64,
    /// When a server took it.
    pub sent_at: Option<Time>,
    /// When it was given up.
    pub failed_at: Option<Time>,
    /// When its cause had gone before it left.
    pub dropped_at: Option<Time>,
    /// What the server said last.
    pub said: String,
}

/// How far a mail has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is to be sent, or tried again.
    Waiting,
    /// A server took it.
    Sent,
    /// It was given up.
    Failed,
    /// Its cause had gone before it left.
    Dropped,
}

impl Row {
    /// How far it has come.
    pub fn state(&self) -> State {
        match self {
            Self { sent_at: Some(_), .. } => State::Sent,
            Self { failed_at: Some(_), .. } => State::Failed,
            Self { dropped_at: Some(_), .. } => State::Dropped,
            _ => State::Waiting,
        }
    }
}

/// A line of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The line; its extend link is derived from it.
    pub id: NoticeId,
    /// The digest that it stands in.
    pub mail: MailId,
    /// The key's tenant.
    pub tenant: TenantId,
    /// The key.
    pub key: KeyId,
    /// The stored word of the stage.
    pub stage: String,
    /// The expiry that it tells of.
    pub expires_at: Time,
    /// The recipient's address, folded.
    pub recipient: String,
    /// Why the recipient gets it.
    pub role: Role,
    /// When it was written.
    pub created_at: Time,
    /// When its cause had gone before it left.
    pub dropped_at: Option<Time>,
    /// What the mail said of the key, as JSON, once it was sent or tried.
    pub shown: Option<String>,
}

/// An address as it is compared: two spellings that differ in case are one recipient.
pub fn folded(address: &str) -> String {
    address.trim().to_lowercase()
}

/// Writes a mail, to leave at once; `None` where one with the same `once` was written before.
///
/// # Errors
/// The database is away.
pub fn add(tx: &mut Tx<'_>, new: &NewMail<'_>) -> Result<Option<MailId>, StoreError> {
    let now = tx.now();
    insert(tx, new, now)
}

/// As [`add`], to leave at a moment.
///
/// # Errors
/// The database is away.
pub fn add_for(tx: &mut Tx<'_>, new: &NewMail<'_>, due_at: Time) -> Result<Option<MailId>, StoreError> {
    insert(tx, new, due_at)
}

/// The newest mails of a tenant to an address that were written since a moment, `most` at most.
///
/// # Errors
/// The database is away.
pub fn newest_to(db: &mut Db, tenant: TenantId, address: &str, since: Time, most: i64) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<RowValues> = table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::created_at.ge(micros(since))))
        .filter(table::tenant_id.eq(tenant.number()).and(table::rank.eq(Rank::Middle.number())))
        .order((table::created_at.desc(), table::id.desc()))
        .limit(most)
        .select(COLUMNS)
        .load(db.conn())?;
    Ok(readable(rows))
}

/// Changes what a mail tells of, while no sender has had it; `false` once one has.
///
/// # Errors
/// The database is away.
pub fn rewrite(tx: &mut Tx<'_>, id: MailId, mail: &Mail) -> Result<bool, StoreError> {
    let facts = serde_json::to_string(mail).map_err(|error| StoreError::Row(error.to_string()))?;
    let open = table::table.filter(table::id.eq(id.0).and(table::taken_at.is_null()));
    Ok(diesel::update(open).set((table::facts.eq(facts), table::kind.eq(mail.word()))).execute(tx.conn())? == 1)
}

/// A mail as it is first written.
#[derive(Insertable)]
#[diesel(table_name = table, treat_none_as_default_value = false)]
struct Values<'a> {
    tenant_id: Option<i64>,
    account_id: Option<i64>,
    kind: &'a str,
    facts: String,
    once: &'a str,
    rank: i64,
    recipient: &'a str,
    recipient_folded: String,
    recipient_name: &'a str,
    created_at: i64,
    due_at: i64,
    next_at: i64,
}

fn values<'a>(new: &NewMail<'a>, now: Time, due_at: Time) -> Result<Values<'a>, StoreError> {
    Ok(Values {
        tenant_id: new.tenant.map(TenantId::number),
        account_id: new.account.map(|id| id.0),
        kind: new.mail.word(),
        facts: serde_json::to_string(new.mail).map_err(|error| StoreError::Row(error.to_string()))?,
        once: new.once,
        rank: new.mail.rank().number(),
        recipient: new.to.address.trim(),
        recipient_folded: folded(&new.to.address),
        recipient_name: &new.to.name,
        created_at: micros(now),
        due_at: micros(due_at),
        next_at: micros(due_at),
    })
}

fn insert(tx: &mut Tx<'_>, new: &NewMail<'_>, due_at: Time) -> Result<Option<MailId>, StoreError> {
    let row = values(new, tx.now(), due_at)?;
    let id: Option<i64> = per_backend!(tx.conn(), |inner| diesel::insert_into(table::table)
        .values(row)
        .on_conflict_do_nothing()
        .returning(table::id)
        .get_result(inner)
        .optional())?;
    Ok(id.map(MailId))
}

/// Lines for one recipient.
pub type Lines = (To, Vec<NewNotice>);

/// Puts notices into the digest of a recipient that leaves at `digest_at`, or into the next day's where that one has left. What
/// the recipient was told before is left out. Answers how many were new.
///
/// Give all notices of one recipient in one call: what comes after a digest has been taken waits for the next day.
///
/// # Errors
/// The database is away.
pub fn add_notices(tx: &mut Tx<'_>, tenant: TenantId, to: &To, digest_at: Time, lines: &[NewNotice]) -> Result<usize, StoreError> {
    add_digests(tx, tenant, digest_at, &[(to.clone(), lines.to_vec())])
}

/// As [`add_notices`], for several recipients, each of whom is named once.
///
/// # Errors
/// The database is away.
pub fn add_digests(tx: &mut Tx<'_>, tenant: TenantId, digest_at: Time, all: &[Lines]) -> Result<usize, StoreError> {
    let mut added = 0;
    for some in all.chunks(DIGESTS_AT_A_TIME) {
        let some: Vec<&Lines> = some.iter().filter(|(_, lines)| !lines.is_empty()).collect();
        let digests = open_digests(tx, tenant, digest_at, &some)?;
        let mut new = insert_lines(tx, tenant, &some, &digests)?;
        for ((to, lines), (mail, is_new)) in some.into_iter().zip(digests) {
            let mut new = new.remove(&mail.0).unwrap_or(0);
            if new < lines.len() {
                new += revive(tx, tenant, mail, &folded(&to.address), lines)?;
            }
            if new == 0 && is_new {
                diesel::delete(table::table.find(mail.0)).execute(tx.conn())?;
            }
            added += new;
        }
    }
    Ok(added)
}

/// Writes the lines of digests, but for those that stand somewhere already. Answers how many are new in each mail.
fn insert_lines(tx: &mut Tx<'_>, tenant: TenantId, all: &[&Lines], digests: &[(MailId, bool)]) -> Result<BTreeMap<i64, usize>, StoreError> {
    let now = micros(tx.now());
    let rows: Vec<_> = all
        .iter()
        .zip(digests)
        .flat_map(|((to, lines), (mail, _))| {
            let recipient = folded(&to.address);
            lines.iter().map(move |line| {
                (
                    (notices::mail_id.eq(mail.0), notices::tenant_id.eq(tenant.number()), notices::key_id.eq(line.key.as_str())),
                    (notices::stage.eq(line.stage.as_str()), notices::expires_at.eq(micros(line.expires_at))),
                    (notices::recipient_folded.eq(recipient.clone()), notices::role.eq(line.role.word()), notices::created_at.eq(now)),
                )
            })
        })
        .collect();
    let mut new = BTreeMap::new();
    for some in rows.chunks(500) {
        let mails: Vec<i64> = per_backend!(tx.conn(), |inner| diesel::insert_into(notices::table)
            .values(some)
            .on_conflict_do_nothing()
            .returning(notices::mail_id)
            .get_results(inner))?;
        for mail in mails {
            *new.entry(mail).or_default() += 1;
        }
    }
    Ok(new)
}

/// Moves lines that were dropped, and whose cause has come back, into a digest: of them nobody was told. Answers how many.
fn revive(tx: &mut Tx<'_>, tenant: TenantId, mail: MailId, recipient: &str, lines: &[NewNotice]) -> Result<usize, StoreError> {
    let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
    let dropped: i64 = notices::table
        .filter(notices::tenant_id.eq(tenant.number()).and(notices::key_id.eq_any(keys)))
        .filter(notices::recipient_folded.eq(recipient).and(notices::dropped_at.is_not_null()))
        .count()
        .get_result(tx.conn())?;
    let now = micros(tx.now());
    let mut revived = 0;
    // A sweep that goes on where another was cut off meets many lines again, and dropped ones seldom.
    for line in lines.iter().filter(|_| dropped > 0) {
        let same = notices::table
            .filter(notices::tenant_id.eq(tenant.number()).and(notices::key_id.eq(line.key.as_str())))
            .filter(notices::stage.eq(&line.stage).and(notices::expires_at.eq(micros(line.expires_at))))
            .filter(notices::recipient_folded.eq(recipient).and(notices::dropped_at.is_not_null()));
        revived += diesel::update(same)
            .set((
                (notices::mail_id.eq(mail.0), notices::role.eq(line.role.word()), notices::created_at.eq(now)),
                (notices::dropped_at.eq(None::<i64>), notices::shown.eq(None::<String>)),
            ))
            .execute(tx.conn())?;
    }
    Ok(revived)
}

/// Moves the moment at which a recipient's digest leaves, while nobody has taken it: for one whose lines are written in several
/// transactions.
///
/// # Errors
/// The database is away.
pub fn hold_digest(tx: &mut Tx<'_>, tenant: TenantId, to: &To, digest_at: Time, until: Time) -> Result<(), StoreError> {
    let once = digest_once(tenant, to, digest_at);
    let open = table::table.filter(table::once.eq(once).and(table::taken_at.is_null()));
    diesel::update(open).set(table::next_at.eq(micros(until))).execute(tx.conn())?;
    Ok(())
}

fn digest_once(tenant: TenantId, to: &To, at: Time) -> String {
    format!("digest/{}/{}/{}", tenant.number(), folded(&to.address), at.date_naive())
}

/// For each recipient the digest that still takes lines, and whether it was made just now.
fn open_digests(tx: &mut Tx<'_>, tenant: TenantId, digest_at: Time, all: &[&Lines]) -> Result<Vec<(MailId, bool)>, StoreError> {
    let onces: Vec<String> = all.iter().map(|(to, _)| digest_once(tenant, to, digest_at)).collect();
    let (now, mut rows) = (tx.now(), Vec::new());
    for ((to, _), once) in all.iter().zip(&onces) {
        rows.push(values(&NewMail { tenant: Some(tenant), account: None, to, mail: &Mail::Digest, once }, now, digest_at)?);
    }
    let made: Vec<(String, i64)> = per_backend!(tx.conn(), |inner| diesel::insert_into(table::table)
        .values(&rows)
        .on_conflict_do_nothing()
        .returning((table::once, table::id))
        .get_results(inner))?;
    let made: BTreeMap<String, i64> = made.into_iter().collect();
    let open = all.iter().zip(&onces).map(|((to, _), once)| match made.get(once) {
        Some(id) => Ok((MailId(*id), true)),
        None => open_digest(tx, tenant, to, digest_at),
    });
    open.collect()
}

/// The digest that still takes lines, and whether it was made just now.
fn open_digest(tx: &mut Tx<'_>, tenant: TenantId, to: &To, digest_at: Time) -> Result<(MailId, bool), StoreError> {
    let mut at = digest_at;
    loop {
        let once = digest_once(tenant, to, at);
        let new = NewMail { tenant: Some(tenant), account: None, to, mail: &Mail::Digest, once: &once };
        if let Some(id) = insert(tx, &new, at)? {
            return Ok((id, true));
        }
        // The row is held until the commit, so that no sender takes it before its new lines are there.
        let open = table::table.filter(table::once.eq(&once).and(table::taken_at.is_null()));
        if diesel::update(open).set(table::recipient_name.eq(&to.name)).execute(tx.conn())? == 1 {
            let id = table::table.filter(table::once.eq(&once)).select(table::id).first(tx.conn())?;
            return Ok((MailId(id), false));
        }
        at = morning_after(at);
    }
}

/// 06:00 UTC on the day after.
fn morning_after(at: Time) -> Time {
    let six = NaiveTime::from_hms_opt(6, 0, 0).unwrap_or_default();
    (at + days(1)).date_naive().and_time(six).and_utc()
}

type RowColumns = (
    (table::id, table::tenant_id, table::account_id, table::facts),
    (table::recipient, table::recipient_name, table::created_at, table::due_at, table::next_at, table::taken_at, table::tries),
    (table::sent_at, table::failed_at, table::dropped_at, table::said),
);
type RowValues = (
    (i64, Option<i64>, Option<i64>, String),
    (String, String, i64, i64, Option<i64>, Option<i64>, i64),
    (Option<i64>, Option<i64>, Option<i64>, String),
);

const COLUMNS: RowColumns = (
    (table::id, table::tenant_id, table::account_id, table::facts),
    (table::recipient, table::recipient_name, table::created_at, table::due_at, table::next_at, table::taken_at, table::tries),
    (table::sent_at, table::failed_at, table::dropped_at, table::said),
);

fn row((what, when, end): RowValues) -> Result<Row, StoreError> {
    Ok(Row {
        id: MailId(what.0),
        tenant: what.1.map(TenantId::from_row),
        account: what.2.map(AccountId),
        mail: serde_json::from_str(&what.3).map_err(|error| StoreError::Row(format!("the facts of a mail: {error}")))?,
        to: To { address: when.0, name: when.1 },
        created_at: moment(when.2),
        due_at: moment(when.3),
        next_at: when.4.map(moment),
        taken_at: when.5.map(moment),
        tries: when.6,
        sent_at: end.0.map(moment),
        failed_at: end.1.map(moment),
        dropped_at: end.2.map(moment),
        said: end.3,
    })
}

/// The mails that this version can read; a newer one may have written others.
fn readable(rows: Vec<RowValues>) -> Vec<Row> {
    let read = rows.into_iter().filter_map(|values| {
        let id = values.0.0;
        row(values).inspect_err(|error| tracing::warn!(mail = id, %error, "a mail cannot be read and is left out")).ok()
    });
    read.collect()
}

/// Takes up to `most` mails that are due, for [`LEASE`]: those of the first rank first. Of several senders each takes others. What
/// this version cannot read is left to a newer one, and given up after two days.
///
/// # Errors
/// The database is away.
pub fn take(tx: &mut Tx<'_>, sender: &str, most: i64) -> Result<Vec<Row>, StoreError> {
    let now = micros(tx.now());
    let mut ids: Vec<i64> = Vec::new();
    for rank in Rank::ALL {
        let left = most - i64::try_from(ids.len()).unwrap_or(most);
        let due = table::table.filter(table::rank.eq(rank.number()).and(table::next_at.le(now)));
        let due = due.order((table::next_at, table::id)).limit(left.max(0)).select(table::id);
        ids.extend(match tx.conn() {
            AnyConn::Sqlite(inner) => due.load::<i64>(inner)?,
            AnyConn::Postgres(inner) => due.for_update().skip_locked().load(inner)?,
        });
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let until = micros(tx.now() + LEASE);
    diesel::update(table::table.filter(table::id.eq_any(&ids))).set((table::next_at.eq(until), table::leased_by.eq(sender))).execute(tx.conn())?;
    diesel::update(table::table.filter(table::id.eq_any(&ids).and(table::taken_at.is_null()))).set(table::taken_at.eq(now)).execute(tx.conn())?;
    let rows: Vec<RowValues> =
        table::table.filter(table::id.eq_any(&ids)).order((table::rank, table::due_at, table::id)).select(COLUMNS).load(tx.conn())?;
    let rows = readable(rows);
    ids.retain(|id| !rows.iter().any(|row| row.id.0 == *id));
    if !ids.is_empty() {
        leave(tx, &ids)?;
    }
    Ok(rows)
}

/// Puts mails back that cannot be read.
fn leave(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    let (now, next) = (tx.now(), micros(tx.now() + Duration::minutes(1)));
    let theirs = || table::table.filter(table::id.eq_any(ids));
    diesel::update(theirs()).set((table::next_at.eq(next), table::leased_by.eq(None::<String>))).execute(tx.conn())?;
    diesel::update(theirs().filter(table::due_at.lt(micros(now - days(TRIED_FOR)))))
        .set((
            (table::next_at.eq(None::<i64>), table::failed_at.eq(micros(now))),
            table::said.eq("this version of Keyward cannot read it: a newer one wrote it"),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// Gives back what senders have taken, whoever they were: for the one process of an SQLite database when it starts.
///
/// # Errors
/// The database is away.
pub fn release_all(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let now = micros(tx.now());
    let taken = table::table.filter(table::leased_by.is_not_null().and(table::next_at.gt(now)));
    Ok(diesel::update(taken).set((table::next_at.eq(now), table::leased_by.eq(None::<String>))).execute(tx.conn())?)
}

/// When the next mail is due; `None` where none waits.
///
/// # Errors
/// The database is away.
pub fn next_due(db: &mut Db) -> Result<Option<Time>, StoreError> {
    let mut next: Option<i64> = None;
    // One look at the end of the index for each rank.
    for rank in Rank::ALL {
        let waiting = table::table.filter(table::rank.eq(rank.number()).and(table::next_at.is_not_null()));
        let first: Option<i64> = waiting.select(diesel::dsl::min(table::next_at)).first(db.conn())?;
        next = next.into_iter().chain(first).min();
    }
    Ok(next.map(moment))
}

/// How many mails wait, in all tenants and outside of them.
///
/// # Errors
/// The database is away.
pub fn count_waiting(db: &mut Db) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::next_at.is_not_null()).count().get_result(db.conn())?)
}

/// What became of a mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server took it.
    Sent,
    /// It is tried again then.
    Again(Time),
    /// It was not tried, and is looked at again then.
    Later(Time),
    /// It is given up.
    Failed,
    /// Its cause has gone: it does not leave.
    Dropped,
}

/// Writes down what became of a mail, in the server's words; `false` where the sender's lease was over and another has it.
///
/// # Errors
/// The database is away.
pub fn settle(tx: &mut Tx<'_>, id: MailId, sender: &str, outcome: &Outcome, said: &str) -> Result<bool, StoreError> {
    let now = Some(micros(tx.now()));
    let tried = i64::from(!matches!(outcome, Outcome::Later(_) | Outcome::Dropped));
    let next = match outcome {
        Outcome::Again(at) | Outcome::Later(at) => Some(micros(*at)),
        _ => None,
    };
    let at = |this: &Outcome| if outcome == this { now } else { None };
    let held = table::table.filter(table::id.eq(id.0).and(table::leased_by.eq(sender)).and(table::next_at.is_not_null()));
    let changed = diesel::update(held)
        .set((
            (table::next_at.eq(next), table::leased_by.eq(None::<String>), table::tries.eq(table::tries + tried), table::said.eq(said)),
            (table::sent_at.eq(at(&Outcome::Sent)), table::failed_at.eq(at(&Outcome::Failed)), table::dropped_at.eq(at(&Outcome::Dropped))),
        ))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

/// How many mails an address got since a moment, but for those of the first rank.
///
/// # Errors
/// The database is away.
pub fn sent_since(db: &mut Db, address: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::sent_at.ge(micros(since))))
        .filter(table::rank.gt(Rank::First.number()))
        .count()
        .get_result(db.conn())?)
}

/// How many mails of one kind were written to an address since a moment.
///
/// # Errors
/// The database is away.
pub fn written_since(db: &mut Db, kind: &str, address: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::created_at.ge(micros(since))).and(table::kind.eq(kind)))
        .count()
        .get_result(db.conn())?)
}

/// How many invitations to a tenant were mailed to an address since a moment.
///
/// # Errors
/// The database is away.
pub fn invited_since(db: &mut Db, tenant: TenantId, address: &str, since: Time) -> Result<i64, StoreError> {
    Ok(table::table
        .filter(table::recipient_folded.eq(folded(address)).and(table::created_at.ge(micros(since))))
        .filter(table::kind.eq("invitation").and(table::tenant_id.eq(tenant.number())))
        .count()
        .get_result(db.conn())?)
}

type Mails = table::BoxedQuery<'static, <AnyConn as diesel::Connection>::Backend>;

/// The mails of a tenant, or those of none.
fn of(tenant: Option<TenantId>) -> Mails {
    match tenant {
        Some(tenant) => table::table.filter(table::tenant_id.eq(tenant.number())).into_boxed(),
        None => table::table.filter(table::tenant_id.is_null()).into_boxed(),
    }
}

/// The mails of a tenant, newest first: of one state where one is named, older than `before`.
///
/// # Errors
/// The database is away.
pub fn list(db: &mut Db, tenant: TenantId, state: Option<State>, before: Option<MailId>, most: i64) -> Result<Vec<Row>, StoreError> {
    list_of(db, Some(tenant), state, before, most)
}

/// As [`list`], for the mails that belong to no tenant.
///
/// # Errors
/// The database is away.
pub fn list_of_installation(
    db: &mut Db,
    _: &InstallationReach,
    state: Option<State>,
    before: Option<MailId>,
    most: i64,
) -> Result<Vec<Row>, StoreError> {
    list_of(db, None, state, before, most)
}

fn list_of(db: &mut Db, tenant: Option<TenantId>, state: Option<State>, before: Option<MailId>, most: i64) -> Result<Vec<Row>, StoreError> {
    let mut query = of(tenant);
    query = match state {
        Some(State::Waiting) => query.filter(table::next_at.is_not_null()),
        Some(State::Sent) => query.filter(table::sent_at.is_not_null()),
        Some(State::Failed) => query.filter(table::failed_at.is_not_null()),
        Some(State::Dropped) => query.filter(table::dropped_at.is_not_null()),
        None => query,
    };
    if let Some(before) = before {
        query = query.filter(table::id.lt(before.0));
    }
    let rows: Vec<RowValues> = query.order(table::id.desc()).limit(most).select(COLUMNS).load(db.conn())?;
    Ok(readable(rows))
}

/// A mail of a tenant.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, tenant: TenantId, id: MailId) -> Result<Option<Row>, StoreError> {
    find_of(db, Some(tenant), id)
}

/// A mail that belongs to no tenant.
///
/// # Errors
/// The database is away.
pub fn find_of_installation(db: &mut Db, _: &InstallationReach, id: MailId) -> Result<Option<Row>, StoreError> {
    find_of(db, None, id)
}

fn find_of(db: &mut Db, tenant: Option<TenantId>, id: MailId) -> Result<Option<Row>, StoreError> {
    let found: Option<RowValues> = of(tenant).filter(table::id.eq(id.0)).select(COLUMNS).first(db.conn()).optional()?;
    found.map(row).transpose()
}

/// How many mails of a tenant failed since a moment and were not sent again.
///
/// # Errors
/// The database is away.
pub fn failed_since(db: &mut Db, tenant: TenantId, since: Time) -> Result<i64, StoreError> {
    failed_since_of(db, Some(tenant), since)
}

/// As [`failed_since`], for the mails that belong to no tenant.
///
/// # Errors
/// The database is away.
pub fn failed_since_of_installation(db: &mut Db, _: &InstallationReach, since: Time) -> Result<i64, StoreError> {
    failed_since_of(db, None, since)
}

fn failed_since_of(db: &mut Db, tenant: Option<TenantId>, since: Time) -> Result<i64, StoreError> {
    Ok(of(tenant).filter(table::failed_at.ge(micros(since))).count().get_result(db.conn())?)
}

/// How many mails failed since a moment, in all tenants and outside of them.
///
/// # Errors
/// The database is away.
pub fn all_failed_since(db: &mut Db, since: Time) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::failed_at.ge(micros(since))).count().get_result(db.conn())?)
}

/// Lets a mail that failed be tried anew, for two days from now; `false` where it has not failed.
///
/// # Errors
/// The database is away.
pub fn send_again(tx: &mut Tx<'_>, tenant: TenantId, id: MailId) -> Result<bool, StoreError> {
    if find(tx, tenant, id)?.is_none() {
        return Ok(false);
    }
    try_anew(tx, id)
}

/// As [`send_again`], for a mail that belongs to no tenant.
///
/// # Errors
/// The database is away.
pub fn send_again_of_installation(tx: &mut Tx<'_>, reach: &InstallationReach, id: MailId) -> Result<bool, StoreError> {
    if find_of_installation(tx, reach, id)?.is_none() {
        return Ok(false);
    }
    try_anew(tx, id)
}

/// A mail stays with its tenant for ever, so whose it is was decided before.
fn try_anew(tx: &mut Tx<'_>, id: MailId) -> Result<bool, StoreError> {
    let now = micros(tx.now());
    let failed = table::table.filter(table::id.eq(id.0).and(table::failed_at.is_not_null()));
    let changed = diesel::update(failed)
        .set((table::failed_at.eq(None::<i64>), table::due_at.eq(now), table::taken_at.eq(now), table::next_at.eq(now), table::tries.eq(0)))
        .execute(tx.conn())?;
    Ok(changed == 1)
}

type NoticeValues = ((i64, i64, i64, String, String), (i64, String, String, i64, Option<i64>, Option<String>));

const NOTICE: (
    (notices::id, notices::mail_id, notices::tenant_id, notices::key_id, notices::stage),
    (notices::expires_at, notices::recipient_folded, notices::role, notices::created_at, notices::dropped_at, notices::shown),
) = (
    (notices::id, notices::mail_id, notices::tenant_id, notices::key_id, notices::stage),
    (notices::expires_at, notices::recipient_folded, notices::role, notices::created_at, notices::dropped_at, notices::shown),
);

fn notice((what, rest): NoticeValues) -> Result<Notice, StoreError> {
    Ok(Notice {
        id: NoticeId(what.0),
        mail: MailId(what.1),
        tenant: TenantId::from_row(what.2),
        key: KeyId::parse(&what.3).ok_or_else(|| StoreError::Row("the key of a notice".into()))?,
        stage: what.4,
        expires_at: DateTime::from_timestamp_micros(rest.0).unwrap_or_default(),
        recipient: rest.1,
        role: Role::of_word(&rest.2).ok_or_else(|| StoreError::Row("the role of a recipient".into()))?,
        created_at: moment(rest.3),
        dropped_at: rest.4.map(moment),
        shown: rest.5,
    })
}

/// The lines of a digest.
///
/// # Errors
/// The database is away.
pub fn notices_of(db: &mut Db, mail: MailId) -> Result<Vec<Notice>, StoreError> {
    let rows: Vec<NoticeValues> = notices::table.filter(notices::mail_id.eq(mail.0)).order(notices::id).select(NOTICE).load(db.conn())?;
    let read = rows.into_iter().filter_map(|values| {
        let id = values.0.0;
        notice(values).inspect_err(|error| tracing::warn!(notice = id, %error, "a line of a digest cannot be read and is left out")).ok()
    });
    Ok(read.collect())
}

/// The line that an extend link stands for; the caller has made sure that the link is the one derived from it.
///
/// # Errors
/// The database is away.
pub fn notice_of_link(db: &mut Db, id: NoticeId) -> Result<Option<Notice>, StoreError> {
    let found: Option<NoticeValues> = notices::table.find(id.0).select(NOTICE).first(db.conn()).optional()?;
    found.map(notice).transpose()
}

/// Keeps what a mail says of keys, and which of its notices were dropped.
///
/// # Errors
/// The database is away.
pub fn set_shown(tx: &mut Tx<'_>, lines: &[(NoticeId, Shown)]) -> Result<(), StoreError> {
    let now = micros(tx.now());
    let (mut counted, mut gone) = (Vec::new(), Vec::new());
    for (id, shown) in lines {
        match shown {
            Shown::Full(line) => {
                let text = serde_json::to_string(line).map_err(|error| StoreError::Row(error.to_string()))?;
                diesel::update(notices::table.find(id.0)).set((notices::shown.eq(text), notices::dropped_at.eq(None::<i64>))).execute(tx.conn())?;
            }
            Shown::Counted => counted.push(id.0),
            Shown::Gone => gone.push(id.0),
        }
    }
    for some in counted.chunks(500) {
        diesel::update(notices::table.filter(notices::id.eq_any(some)))
            .set((notices::shown.eq(COUNTED), notices::dropped_at.eq(None::<i64>)))
            .execute(tx.conn())?;
    }
    for some in gone.chunks(500) {
        diesel::update(notices::table.filter(notices::id.eq_any(some)))
            .set((notices::shown.eq(None::<String>), notices::dropped_at.eq(now)))
            .execute(tx.conn())?;
    }
    Ok(())
}

/// What is kept of a line that was only counted: JSON, as of those that were shown.
const COUNTED: &str = "null";

/// What became of a line of a mail that was sent or tried; `None` where it was never worked out.
pub fn shown(notice: &Notice) -> Option<Shown> {
    if notice.dropped_at.is_some() {
        return Some(Shown::Gone);
    }
    // What a newer version wrote is counted at least.
    let line = notice.shown.as_deref()?;
    Some(serde_json::from_str::<Line>(line).map_or(Shown::Counted, |line| Shown::Full(Box::new(line))))
}

/// How many lines each of these digests has that were not dropped.
///
/// # Errors
/// The database is away.
pub fn sizes(db: &mut Db, digests: &[MailId]) -> Result<BTreeMap<MailId, i64>, StoreError> {
    let ids: Vec<i64> = digests.iter().map(|id| id.0).collect();
    let rows: Vec<(i64, i64)> = notices::table
        .filter(notices::mail_id.eq_any(ids).and(notices::dropped_at.is_null()))
        .group_by(notices::mail_id)
        .select((notices::mail_id, diesel::dsl::count_star()))
        .load(db.conn())?;
    Ok(rows.into_iter().map(|(id, count)| (MailId(id), count)).collect())
}

/// Takes away up to `most` mails that are done with since before a moment, with their lines. Answers how many.
///
/// # Errors
/// The database is away.
pub fn purge(tx: &mut Tx<'_>, before: Time, most: i64) -> Result<usize, StoreError> {
    let old: Vec<i64> = table::table
        .filter(table::next_at.is_null().and(table::created_at.lt(micros(before))))
        .order(table::id)
        .limit(most)
        .select(table::id)
        .load(tx.conn())?;
    Ok(diesel::delete(table::table.filter(table::id.eq_any(old))).execute(tx.conn())?)
}
