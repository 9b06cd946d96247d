//! How much use is written down cheaply: a busy second becomes a few rows of the journal, each of one bucket of keys, and bucket
//! by bucket they are added up and written to the keys' own rows. A key that is used every second is so written about once a
//! minute, while a crash still loses no more than a second.

use std::{collections::HashMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use smallvec::SmallVec;

use super::tally::{Hours, KeyTally, LastUse, write_keys};
use crate::{
    domain::{ids::KeyId, time::Time},
    store::{Store, StoreError, Tx, usage, use_journal},
};

/// How many keys' uses are folded in one transaction, so that others get their turn in between.
const KEYS_AT_A_TIME: usize = 1000;

/// What happened to a key, as the journal keeps it: a row is one line after the other.
#[derive(Serialize, Deserialize)]
struct Line {
    key: [u8; 16],
    hours: Hours,
    uses: SmallVec<[LineUse; 1]>,
}

/// The beginning of the secret's hash, enough to know it among a key's two; microseconds since 1970; the address.
type LineUse = ([u8; 8], i64, Option<IpAddr>);

/// Keys are apart by the last character of their ID, which is as random as the rest.
fn bucket(id: KeyId) -> i64 {
    id.bytes().last().copied().map_or(0, i64::from)
}

/// Writes what happened to these keys into the journal, in one transaction.
///
/// # Errors
/// The database is away; nothing is written then.
pub(super) fn note(store: &Store, now: Time, keys: &[(KeyId, KeyTally)]) -> Result<(), StoreError> {
    let mut rows: HashMap<i64, Vec<u8>> = HashMap::new();
    for (id, tally) in keys {
        let row = rows.entry(bucket(*id)).or_default();
        Line::of(*id, tally).write_to(row)?;
    }
    let rows: Vec<_> = rows.into_iter().collect();
    store.write(now, |tx| use_journal::add(tx, &rows))
}

/// The next bucket that has rows after `last`, or the first of all; `None` where the journal is empty.
///
/// # Errors
/// The database is away.
pub(super) fn next(store: &Store, last: i64) -> Result<Option<i64>, StoreError> {
    store.read(|db| use_journal::next(db, last))
}

/// Folds a bucket, up to a thousand keys of it.
///
/// # Errors
/// The database is away; the rows are still there then.
pub(super) fn fold(store: &Store, now: Time, bucket: i64) -> Result<(), StoreError> {
    store.write(now, |tx| {
        let rows = use_journal::take(tx, bucket)?;
        let mut keys = add_up(&rows);
        // Those that waited longest are first; the rest waits for the next time, as one row.
        let rest = keys.split_off(keys.len().min(KEYS_AT_A_TIME));
        if !rest.is_empty() {
            let mut row = Vec::new();
            rest.iter().try_for_each(|line| line.write_to(&mut row))?;
            use_journal::add(tx, &[(bucket, row)])?;
        }
        write(tx, &keys)
    })
}

fn write(tx: &mut Tx<'_>, lines: &[Line]) -> Result<(), StoreError> {
    let ids: Vec<KeyId> = lines.iter().filter_map(Line::id).collect();
    let secrets = usage::secrets(tx, &ids)?;
    let mut keys: Vec<(KeyId, KeyTally)> = Vec::with_capacity(lines.len());
    for line in lines {
        let Some(id) = line.id() else { continue };
        // Of a key that is deleted by now there is nothing to write.
        let Some((tenant, known)) = secrets.get(&id) else { continue };
        let mut tally = KeyTally::new(*tenant);
        line.hours.iter().for_each(|(hour, accepted, refused)| tally.add_hour(*hour, *accepted, *refused));
        for (start, at, ip) in &line.uses {
            if let (Some(hash), Some(at)) = (known.iter().find(|hash| hash.0.starts_with(start)), Time::from_timestamp_micros(*at)) {
                tally.add_use(LastUse { hash: *hash, at, ip: *ip });
            }
        }
        keys.push((id, tally));
    }
    // Always in the same order, so that two processes never wait for each other.
    keys.sort_unstable_by_key(|(id, _)| *id);
    write_keys(tx, &keys)
}

impl Line {
    fn of(id: KeyId, tally: &KeyTally) -> Self {
        Self {
            key: id.bytes(),
            hours: tally.hours.clone(),
            uses: tally.uses.iter().map(|last| (start(&last.hash.0), last.at.timestamp_micros(), last.ip)).collect(),
        }
    }

    fn write_to(&self, row: &mut Vec<u8>) -> Result<(), StoreError> {
        postcard::to_io(self, row).map(|_| ()).map_err(|error| StoreError::Row(error.to_string()))
    }

    fn id(&self) -> Option<KeyId> {
        KeyId::parse(std::str::from_utf8(&self.key).ok()?)
    }

    fn add(&mut self, later: Self) {
        for (hour, accepted, refused) in later.hours {
            match self.hours.iter_mut().find(|(at, ..)| *at == hour) {
                Some(known) => (known.1, known.2) = (known.1.saturating_add(accepted), known.2.saturating_add(refused)),
                None => self.hours.push((hour, accepted, refused)),
            }
        }
        for last in later.uses {
            match self.uses.iter_mut().find(|(of, ..)| *of == last.0) {
                Some(known) if known.1 <= last.1 => *known = last,
                Some(_) => {}
                None => self.uses.push(last),
            }
        }
    }
}

fn start(hash: &[u8; 32]) -> [u8; 8] {
    std::array::from_fn(|i| hash[i])
}

/// The lines of all rows, one a key, in the order in which the keys came first.
fn add_up(rows: &[Vec<u8>]) -> Vec<Line> {
    let mut places: HashMap<[u8; 16], usize> = HashMap::new();
    let mut sum: Vec<Line> = Vec::new();
    for row in rows {
        let mut rest = row.as_slice();
        while !rest.is_empty() {
            let line = match postcard::take_from_bytes::<Line>(rest) {
                Ok((line, after)) => {
                    rest = after;
                    line
                }
                Err(error) => {
                    tracing::error!(%error, "a row of the journal of uses is damaged; the use of a second is lost");
                    break;
                }
            };
            match places.get(&line.key) {
                Some(place) => sum[*place].add(line),
                None => {
                    places.insert(line.key, sum.len());
                    sum.push(line);
                }
            }
        }
    }
    sum
}
