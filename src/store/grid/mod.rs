//! The key grid: what matches a filter, how many by status, one page at a time, with a million keys in one tenant.
//!
//! A filter that matches at most [`MOST`] keys is *complete*: its keys are gathered with the facts of their status, then counted,
//! sorted and cut to a page here. Anything larger is *wide*: counts stop at a bound, and a page is read in the order of an index
//! from where the last one ended. Every query starts at a [`Reach`].

mod count;
mod filter;
mod query;
mod row;
mod sample;
mod stretch;
mod usage;

use std::{cmp::Ordering, collections::HashMap};

use diesel::prelude::*;

pub use count::{Count, Counts};
use filter::Value;
pub use filter::{AccessFilter, Cursor, Filter, Order, Sort, Tab, UsedFilter};
use query::{Driver, Gathered, Query};
use row::{Row, compare, sorted};
pub use usage::{Day, Month, usage};

use super::{Db, StoreError, keys::KeyRow, members::Reach, micros, moment, schema::keys as table};
use crate::domain::{
    key::{Key, Status},
    time::Time,
};

/// Up to here counts are exact and every order is offered.
pub const MOST: usize = 10_000;

/// Whose grid, at what moment.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// What the caller may look at.
    pub reach: &'a Reach,
    /// What is shown of it.
    pub filter: &'a Filter,
    /// The moment that statuses are worked out for.
    pub now: Time,
    /// How long before its expiry a key counts as *Expiring soon*.
    pub soon: chrono::Duration,
}

/// One page of the grid.
#[derive(Debug, Clone)]
pub struct Page {
    /// The keys, in order.
    pub keys: Vec<Key>,
    /// How many there are by status, whatever status is shown.
    pub counts: Counts,
    /// The order, which may be another than asked for: a wide filter by text is sorted by creation only.
    pub order: Order,
    /// Whether other orders are offered.
    pub sortable: bool,
    /// How many keys come before this page.
    pub before: u64,
    /// Where the next page begins.
    pub next: Option<Cursor>,
    /// Where the page before ends.
    pub previous: Option<Cursor>,
}

/// What a page is cut from.
enum Found {
    /// Every key that is shown, in order.
    Complete(Vec<Row>),
    /// Too many to hold.
    Wide,
}

fn find(db: &mut Db, query: &Query<'_>, order: Order) -> Result<(Found, Counts), StoreError> {
    let tab = query.view.filter.tab;
    let sample = match query.complete(db, order.sort)? {
        Gathered::All(mut rows) => {
            let counts = query.counts_of(&rows);
            rows.retain(|row| row.is_in(tab, query.view));
            return Ok((Found::Complete(sorted(rows, order)), counts));
        }
        Gathered::Some(sample) => sample,
    };
    let mut counts = query.wide_counts(db, sample)?;
    let Some(rows) = of_few(db, query, order)? else { return Ok((Found::Wide, counts)) };
    if let Some(at) = Tab::ALL.iter().position(|(t, ..)| *t == tab) {
        counts[at] = Count::capped(rows.len());
    }
    Ok((Found::Complete(rows), counts))
}

/// A status that few keys have is complete, too: its keys may lie anywhere in the order.
fn of_few(db: &mut Db, query: &Query<'_>, order: Order) -> Result<Option<Vec<Row>>, StoreError> {
    let tab = query.view.filter.tab;
    if tab == Tab::All || query.status_count(db, tab)? > MOST {
        return Ok(None);
    }
    let mut rows = query.gather(db, Driver::Tab(tab), order.sort, MOST)?;
    rows.retain(|row| row.hit == 1);
    Ok(Some(sorted(rows, order)))
}

/// One page of `size` keys at a place in the order; the first one without a place.
///
/// # Errors
/// The database is away.
pub fn page(db: &mut Db, view: &View<'_>, order: Order, at: Option<&Cursor>, size: usize) -> Result<Page, StoreError> {
    let query = Query::new(db, view)?;
    let (found, counts) = find(db, &query, order)?;
    let is_complete = matches!(found, Found::Complete(_));
    let sortable = is_complete || query.needle.is_none();
    // A place in another order is none.
    let (order, at) =
        if sortable || order.sort == Sort::Created { (order, at.filter(|cursor| cursor.fits(order.sort))) } else { (Order::default(), None) };
    let (mut rows, mut before, has_before, has_after) = match (&found, at) {
        (Found::Complete(all), _) => cut(all, order, at, size),
        (Found::Wide, Some(cursor)) if !cursor.forward => {
            let mut rows = query.backwards(db, view.filter.tab, order, cursor, size + 1)?;
            let has_before = rows.len() > size;
            rows.truncate(size);
            rows.reverse();
            (rows, cursor.before, has_before, true)
        }
        (Found::Wide, _) => {
            let place = at.map(|cursor| (&cursor.value, cursor.seq));
            let mut rows = query.stream(db, view.filter.tab, order, place, size + 1)?;
            let has_after = rows.len() > size;
            rows.truncate(size);
            (rows, at.map_or(0, |cursor| cursor.before), at.is_some(), has_after)
        }
    };
    if !has_before {
        before = 0;
    }
    // Going back past the beginning: what was there has gone, so the first page is shown whole.
    if at.is_some_and(|cursor| !cursor.forward) && !has_before && rows.len() < size {
        return page(db, view, order, None, size);
    }
    if rows.is_empty() && at.is_some() {
        return page(db, view, order, None, size);
    }
    let count = u64::try_from(rows.len()).unwrap_or(0);
    let next = rows.last().filter(|_| has_after).map(|row| row.cursor(true, before + count, order.sort));
    let previous =
        rows.first().filter(|_| has_before).map(|row| row.cursor(false, before.saturating_sub(u64::try_from(size).unwrap_or(0)), order.sort));
    let seqs: Vec<i64> = rows.drain(..).map(|row| row.seq).collect();
    Ok(Page { keys: by_seq(db, view.reach, &seqs)?, counts, order, sortable, before, next, previous })
}

/// The first `size` keys of an order, without the counts that a page has.
///
/// # Errors
/// The database is away.
pub fn first(db: &mut Db, view: &View<'_>, order: Order, size: usize) -> Result<Vec<Key>, StoreError> {
    let query = Query::new(db, view)?;
    let rows = match query.complete(db, order.sort)? {
        Gathered::All(rows) => sorted(rows.into_iter().filter(|row| row.is_in(view.filter.tab, view)).collect(), order),
        Gathered::Some(_) => match of_few(db, &query, order)? {
            Some(rows) => rows,
            None => query.stream(db, view.filter.tab, order, None, size)?,
        },
    };
    let seqs: Vec<i64> = rows.iter().take(size).map(|row| row.seq).collect();
    by_seq(db, view.reach, &seqs)
}

/// The page of a complete list at a place: its rows, how many come before, whether there are any before and after.
fn cut(all: &[Row], order: Order, at: Option<&Cursor>, size: usize) -> (Vec<Row>, u64, bool, bool) {
    let place = |cursor: &Cursor| if order.sort == Sort::Created { Value::Number(cursor.seq) } else { cursor.value.clone() };
    let start = match at {
        None => 0,
        Some(cursor) => {
            let value = place(cursor);
            let before = |row: &Row| compare(order, (&row.value(order.sort), row.seq), (&value, cursor.seq));
            if cursor.forward {
                all.partition_point(|row| before(row) != Ordering::Greater)
            } else {
                all.partition_point(|row| before(row) == Ordering::Less).saturating_sub(size)
            }
        }
    };
    let end = all.len().min(start + size);
    (all[start..end].to_vec(), u64::try_from(start).unwrap_or(0), start > 0, end < all.len())
}

/// The keys with these numbers that are in reach, in the order of the numbers.
fn by_seq(db: &mut Db, reach: &Reach, seqs: &[i64]) -> Result<Vec<Key>, StoreError> {
    let mut keys: HashMap<i64, Key> = HashMap::with_capacity(seqs.len());
    // SQLite takes 32 766 values in one statement.
    for part in seqs.chunks(10_000) {
        let rows: Vec<KeyRow> = table::table.filter(table::seq.eq_any(part)).filter(table::tenant_id.eq(reach.tenant().number())).load(db.conn())?;
        for row in rows.into_iter().filter(|row| reach.owners().is_none_or(|owners| owners.contains(&row.owner_id))) {
            keys.insert(row.seq, Key::try_from(row)?);
        }
    }
    Ok(seqs.iter().filter_map(|seq| keys.remove(seq)).collect())
}

/// The numbers of the `most` keys after a place in the order of creation, nearest first: older ones going `forward`, newer ones
/// going back. With the counts by status.
///
/// # Errors
/// The database is away.
pub(super) fn nearest(db: &mut Db, view: &View<'_>, after: Option<i64>, forward: bool, most: usize) -> Result<(Vec<i64>, Counts), StoreError> {
    let query = Query::new(db, view)?;
    let (found, counts) = find(db, &query, Order::default())?;
    let seqs = match found {
        Found::Complete(rows) => {
            let is_after = |seq: &i64| after.is_none_or(|at| if forward { *seq < at } else { *seq > at });
            let mut seqs: Vec<i64> = rows.iter().map(|row| row.seq).filter(is_after).collect();
            if !forward {
                seqs.reverse();
            }
            seqs.truncate(most);
            seqs
        }
        Found::Wide => {
            let order = Order { sort: Sort::Created, descending: forward };
            let place = after.map(|seq| (&Value::Empty, seq));
            query.stream(db, view.filter.tab, order, place, most)?.iter().map(|row| row.seq).collect()
        }
    };
    Ok((seqs, counts))
}

/// A key that matches, for what is done with many: its number and its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its status.
    pub status: Status,
}

/// Every key that matches, newest first, however many there are: a few bytes each.
///
/// # Errors
/// The database is away.
pub fn matching(db: &mut Db, view: &View<'_>) -> Result<Vec<Match>, StoreError> {
    let status = |row: &Row| {
        let found = [Tab::Revoked, Tab::Disabled, Tab::Expired].into_iter().find(|tab| row.is_in(*tab, view));
        match found {
            Some(Tab::Revoked) => Status::Revoked,
            Some(Tab::Disabled) => Status::Disabled,
            Some(_) => Status::Expired,
            None => Status::Active,
        }
    };
    Ok(all(db, view, Order::default())?.iter().map(|row| Match { seq: row.seq, status: status(row) }).collect())
}

/// The numbers of every key that matches, in an order; where more than 10 000 match, by creation.
///
/// # Errors
/// The database is away.
pub fn in_order(db: &mut Db, view: &View<'_>, order: Order) -> Result<Vec<i64>, StoreError> {
    Ok(all(db, view, order)?.iter().map(|row| row.seq).collect())
}

fn all(db: &mut Db, view: &View<'_>, order: Order) -> Result<Vec<Row>, StoreError> {
    const BATCH: usize = 5_000;
    let query = Query::new(db, view)?;
    if let (Found::Complete(rows), _) = find(db, &query, order)? {
        return Ok(rows);
    }
    let order = if order.sort == Sort::Created { order } else { Order::default() };
    let mut all: Vec<Row> = Vec::new();
    loop {
        let after = all.last().map(|last| last.seq);
        let rows = query.stream(db, view.filter.tab, order, after.map(|seq| (&Value::Empty, seq)), BATCH)?;
        let is_last = rows.len() < BATCH;
        all.extend(rows);
        if is_last {
            return Ok(all);
        }
    }
}

/// The keys with these numbers, in that order, as far as they are in reach.
///
/// # Errors
/// The database is away.
pub fn keys(db: &mut Db, reach: &Reach, seqs: &[i64]) -> Result<Vec<Key>, StoreError> {
    by_seq(db, reach, seqs)
}

/// How many keys there are by status.
///
/// # Errors
/// The database is away.
pub fn counts(db: &mut Db, view: &View<'_>) -> Result<Counts, StoreError> {
    let query = Query::new(db, view)?;
    match query.complete(db, Sort::Created)? {
        Gathered::All(rows) => Ok(query.counts_of(&rows)),
        Gathered::Some(sample) => query.wide_counts(db, sample),
    }
}

/// When the keys in reach expire that are active and do so before `until`, soonest first; at most [`MOST`].
///
/// # Errors
/// The database is away.
pub fn expiries(db: &mut Db, reach: &Reach, now: Time, until: Time) -> Result<Vec<Time>, StoreError> {
    let mut query = table::table
        .filter(table::tenant_id.eq(reach.tenant().number()).and(table::revoked_at.is_null()).and(table::disabled_at.is_null()))
        .filter(table::expires_at.gt(micros(now)).and(table::expires_at.lt(micros(until))))
        .select(table::expires_at.assume_not_null())
        .order(table::expires_at)
        .limit(10_000)
        .into_boxed();
    if let Some(owners) = reach.owners() {
        query = query.filter(table::owner_id.eq_any(owners.to_vec()));
    }
    Ok(query.load::<i64>(db.conn())?.into_iter().map(moment).collect())
}
