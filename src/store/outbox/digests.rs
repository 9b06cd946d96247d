//! Writing the lines of digests: one digest a recipient, tenant and day, one line a key and stage.

use std::collections::BTreeMap;

use chrono::NaiveTime;
use diesel::prelude::*;

use super::{
    To,
    add::{NewMail, insert, values},
    folded,
};
use crate::{
    domain::{
        ids::{KeyId, MailId, TenantId},
        mail::{Mail, Role},
        time::{Time, days},
    },
    store::{
        StoreError, Tx, micros, per_backend,
        schema::{mails as table, notices},
    },
};

/// How many digests are written by one statement.
const DIGESTS_AT_A_TIME: usize = 100;

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
