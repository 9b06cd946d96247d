//! The audit log: one chain a tenant, number 0 for the installation.

use diesel::prelude::*;

use super::{
    Db, StoreError, Tx, micros, moment, per_backend,
    schema::{event_chains as chains, events as table},
};
use crate::domain::{
    event::{Action, CHAIN_START, Event, EventActor, chain_hash},
    ids::{KeyId, MemberId, TenantId},
    time::Time,
};

/// The chain of the installation, beside those of the tenants.
pub const INSTALLATION: i64 = 0;

/// Makes writers of one chain take turns until the commit; makes the chain where it is missing.
pub(super) fn lock_chain(tx: &mut Tx<'_>, chain: i64) -> Result<(), StoreError> {
    let held = diesel::update(chains::table.find(chain)).set(chains::count.eq(chains::count)).execute(tx.conn())?;
    if held == 0 {
        let seal = tx.secrets().seal(chain, 0, &CHAIN_START).to_vec();
        let row = (chains::tenant_id.eq(chain), chains::count.eq(0i64), chains::head.eq(CHAIN_START.to_vec()), chains::seal.eq(seal));
        per_backend!(tx.conn(), |inner| diesel::insert_into(chains::table).values(row).on_conflict_do_nothing().execute(inner))?;
        diesel::update(chains::table.find(chain)).set(chains::count.eq(chains::count)).execute(tx.conn())?;
    }
    Ok(())
}

/// Adds an event to the chain of a tenant, in the transaction of the change that it tells of.
///
/// # Errors
/// The database is away.
pub fn add(tx: &mut Tx<'_>, tenant: TenantId, event: &Event) -> Result<(), StoreError> {
    add_to(tx, tenant.number(), event)
}

/// The number of the newest event of a tenant; 0 where there is none.
///
/// # Errors
/// The database is away.
pub fn newest(db: &mut Db, tenant: TenantId) -> Result<i64, StoreError> {
    Ok(chains::table.find(tenant.number()).select(chains::count).first(db.conn()).optional()?.unwrap_or(0))
}

/// Adds an event to the chain of the installation.
///
/// # Errors
/// The database is away.
pub fn add_to_installation(tx: &mut Tx<'_>, event: &Event) -> Result<(), StoreError> {
    add_to(tx, INSTALLATION, event)
}

/// Adds an event to a chain by its number.
///
/// # Errors
/// The database is away.
pub fn add_to(tx: &mut Tx<'_>, chain: i64, event: &Event) -> Result<(), StoreError> {
    lock_chain(tx, chain)?;
    let (count, head): (i64, Vec<u8>) = chains::table.find(chain).select((chains::count, chains::head)).first(tx.conn())?;
    let head: [u8; 32] = head.try_into().map_err(|_| StoreError::Row("the head of a chain".into()))?;
    let number = count + 1;
    let hash = chain_hash(&head, number, event);
    diesel::insert_into(table::table)
        .values((
            (table::tenant_id.eq(chain), table::number.eq(number), table::at.eq(micros(event.at)), table::hash.eq(hash.to_vec())),
            (table::actor_kind.eq(&event.actor.kind), table::actor_id.eq(&event.actor.id), table::actor_name.eq(&event.actor.name)),
            (
                table::action.eq(event.action.word()),
                table::target_kind.eq(&event.target_kind),
                table::target_id.eq(&event.target_id),
                table::target_name.eq(&event.target_name),
            ),
            (table::ip.eq(&event.ip), table::user_agent.eq(&event.user_agent), table::details.eq(event.details.to_string())),
        ))
        .execute(tx.conn())?;
    let seal = tx.secrets().seal(chain, number, &hash).to_vec();
    diesel::update(chains::table.find(chain))
        .set((chains::count.eq(number), chains::head.eq(hash.to_vec()), chains::seal.eq(seal)))
        .execute(tx.conn())?;
    Ok(())
}

pub(super) type Row = (i64, i64, (String, String, String), String, (String, String, String), String, String, String, Vec<u8>);

pub(super) fn columns() -> (
    table::number,
    table::at,
    (table::actor_kind, table::actor_id, table::actor_name),
    table::action,
    (table::target_kind, table::target_id, table::target_name),
    table::ip,
    table::user_agent,
    table::details,
    table::hash,
) {
    (
        table::number,
        table::at,
        (table::actor_kind, table::actor_id, table::actor_name),
        table::action,
        (table::target_kind, table::target_id, table::target_name),
        table::ip,
        table::user_agent,
        table::details,
        table::hash,
    )
}

pub(super) fn event(row: Row) -> Result<(i64, Event, Vec<u8>), StoreError> {
    let (number, at, (kind, id, name), action, (target_kind, target_id, target_name), ip, user_agent, details, hash) = row;
    let action = Action::of_word(&action).ok_or_else(|| StoreError::Row(format!("the action {action}")))?;
    let details = serde_json::from_str(&details).map_err(|error| StoreError::Row(error.to_string()))?;
    Ok((
        number,
        Event { at: moment(at), actor: EventActor { kind, id, name }, action, target_kind, target_id, target_name, ip, user_agent, details },
        hash,
    ))
}

/// The newest events of one key, newest first.
///
/// # Errors
/// The database is away.
pub fn of_key(db: &mut Db, tenant: TenantId, key: KeyId, most: i64) -> Result<Vec<Event>, StoreError> {
    of_target(db, tenant, ("key", key.as_str()), most)
}

/// The newest events of one thing, by what it is and its ID, newest first.
///
/// # Errors
/// The database is away.
pub fn of_target(db: &mut Db, tenant: TenantId, (kind, id): (&str, &str), most: i64) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<Row> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::target_kind.eq(kind)).and(table::target_id.eq(id)))
        .order((table::at.desc(), table::number.desc()))
        .limit(most)
        .select(columns())
        .load(db.conn())?;
    rows.into_iter().map(|row| event(row).map(|(_, event, _)| event)).collect()
}

/// The newest events about one member, newest first.
///
/// # Errors
/// The database is away.
pub fn of_member(db: &mut Db, tenant: TenantId, member: MemberId, most: i64) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<Row> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::target_kind.eq("member")).and(table::target_id.eq(member.to_string())))
        .order((table::at.desc(), table::number.desc()))
        .limit(most)
        .select(columns())
        .load(db.conn())?;
    rows.into_iter().map(|row| event(row).map(|(_, event, _)| event)).collect()
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChainFault {
    #[error("event {0} was changed, or the one before it is not the one it followed")]
    Changed(i64),
    #[error("event {0} is missing")]
    Missing(i64),
    #[error("the checkpoint after event {0} does not match its seal: more was taken away than the purge of old events did")]
    Checkpoint(i64),
    #[error("the seal does not match: events were cut off or added, or the secret file is another")]
    Seal,
}

/// Checks a whole chain: every hash, no gap, and the seal over count and head. Returns how many events it has.
///
/// # Errors
/// The database is away; the inner result names the first fault.
pub fn verify(db: &mut Db, secrets: &crate::secrets::Secrets, chain: i64) -> Result<Result<i64, ChainFault>, StoreError> {
    type Chain = (i64, Vec<u8>, Vec<u8>, i64, Option<Vec<u8>>, Option<Vec<u8>>);
    let found: Option<Chain> = chains::table
        .find(chain)
        .select((chains::count, chains::head, chains::seal, chains::purged_to, chains::purged_head, chains::purged_seal))
        .first(db.conn())
        .optional()?;
    let Some((count, head, seal, purged_to, purged_head, purged_seal)) = found else { return Ok(Ok(0)) };
    if purged_to > 0 && purged_seal != purged_head.as_ref().map(|head| secrets.seal_of_purge(chain, purged_to, head).to_vec()) {
        return Ok(Err(ChainFault::Checkpoint(purged_to)));
    }
    let mut before: [u8; 32] = purged_head.and_then(|head| head.try_into().ok()).unwrap_or(CHAIN_START);
    let mut last = purged_to;
    loop {
        let rows: Vec<Row> = table::table
            .filter(table::tenant_id.eq(chain).and(table::number.gt(last)))
            .order(table::number)
            .limit(1000)
            .select(columns())
            .load(db.conn())?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let number = row.0;
            if number != last + 1 {
                return Ok(Err(ChainFault::Missing(last + 1)));
            }
            let Ok((_, event, hash)) = event(row) else { return Ok(Err(ChainFault::Changed(number))) };
            let expected = chain_hash(&before, number, &event);
            if hash != expected {
                return Ok(Err(ChainFault::Changed(number)));
            }
            before = expected;
            last = number;
        }
    }
    if last != count || before.as_slice() != head || secrets.seal(chain, count, &head).as_slice() != seal {
        return Ok(Err(if last < count { ChainFault::Missing(last + 1) } else { ChainFault::Seal }));
    }
    Ok(Ok(count))
}

/// Takes away up to `most` of the oldest events of a chain from before a moment, and seals where it begins now. Answers how many.
///
/// # Errors
/// The database is away.
pub fn purge(tx: &mut Tx<'_>, chain: i64, before: Time, most: i64) -> Result<usize, StoreError> {
    lock_chain(tx, chain)?;
    let from: i64 = chains::table.find(chain).select(chains::purged_to).first(tx.conn())?;
    let rows: Vec<(i64, i64, Vec<u8>)> = table::table
        .filter(table::tenant_id.eq(chain).and(table::number.gt(from)))
        .order(table::number)
        .limit(most)
        .select((table::number, table::at, table::hash))
        .load(tx.conn())?;
    let Some((to, _, head)) = rows.into_iter().take_while(|(_, at, _)| *at < micros(before)).last() else { return Ok(0) };
    let seal = tx.secrets().seal_of_purge(chain, to, &head).to_vec();
    diesel::update(chains::table.find(chain))
        .set((chains::purged_to.eq(to), chains::purged_head.eq(head), chains::purged_seal.eq(seal)))
        .execute(tx.conn())?;
    Ok(diesel::delete(table::table.filter(table::tenant_id.eq(chain).and(table::number.le(to)))).execute(tx.conn())?)
}

/// How many events of a tenant are older than a moment.
///
/// # Errors
/// The database is away.
pub fn count_before(db: &mut Db, tenant: TenantId, before: Time) -> Result<i64, StoreError> {
    Ok(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::at.lt(micros(before)))).count().get_result(db.conn())?)
}

/// Every chain's number.
///
/// # Errors
/// The database is away.
pub fn chains(db: &mut Db) -> Result<Vec<i64>, StoreError> {
    Ok(chains::table.select(chains::tenant_id).order(chains::tenant_id).load(db.conn())?)
}
