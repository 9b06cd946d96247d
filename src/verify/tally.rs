//! Counts what was decided, off the request's path: last use and hourly counters are collected in memory and written together
//! each second and at shutdown. A crash loses at most that second of them.
//!
//! A few keys' use goes straight to their rows. Where many keys were used in a second it goes to the journal, which is folded
//! into the rows little by little, except for the first use of a secret: whether one was ever used decides which stays at a roll.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{
    journal,
    memory::{Entry, address, lock},
};
use crate::{
    domain::{
        ids::{GatewayId, KeyId, TenantId},
        time::Time,
        token::SecretHash,
    },
    store::{
        Store, StoreError, Tx,
        usage::{self, GatewayUse, HourCount, SecretUse},
    },
};

const SHARDS: usize = 16;

/// How many keys are written in one transaction, so that others get their turn in between.
const BATCH: usize = 1000;

/// Up to so many keys of a second are written to their rows at once, about a fiftieth of the time on SQLite.
const STRAIGHT: usize = 500;

/// How long the journal is folded in a second in which nothing is added to it, and at the end.
const FOLD: Duration = Duration::from_millis(50);
const FOLD_AT_THE_END: Duration = Duration::from_secs(2);

/// The last use of a secret.
#[derive(Clone, Copy)]
pub(super) struct LastUse {
    pub(super) hash: SecretHash,
    pub(super) at: Time,
    pub(super) ip: Option<IpAddr>,
}

/// Accepted and refused, by hours since 1970; one hour but for the change of the hour.
pub(super) type Hours = SmallVec<[(i64, i64, i64); 1]>;

pub(super) struct KeyTally {
    pub(super) tenant: TenantId,
    /// A secret was used that had not been used before.
    first: bool,
    pub(super) hours: Hours,
    /// The last use of the current secret and of the old one.
    pub(super) uses: SmallVec<[LastUse; 1]>,
}

impl KeyTally {
    pub(super) fn new(tenant: TenantId) -> Self {
        Self { tenant, first: false, hours: SmallVec::new(), uses: SmallVec::new() }
    }

    pub(super) fn add_hour(&mut self, hour: i64, accepted: i64, refused: i64) {
        match self.hours.iter_mut().find(|(at, ..)| *at == hour) {
            Some(count) => {
                (count.1, count.2) = (count.1.saturating_add(accepted), count.2.saturating_add(refused));
            }
            None => self.hours.push((hour, accepted, refused)),
        }
    }

    fn add(&mut self, other: &Self) {
        self.first |= other.first;
        other.hours.iter().for_each(|(hour, accepted, refused)| self.add_hour(*hour, *accepted, *refused));
        other.uses.iter().for_each(|used| self.add_use(*used));
    }

    pub(super) fn add_use(&mut self, new: LastUse) {
        match self.uses.iter_mut().find(|last| last.hash == new.hash) {
            Some(last) if last.at <= new.at => *last = new,
            Some(_) => {}
            None => self.uses.push(new),
        }
    }
}

#[derive(Default, Clone, Copy)]
struct GatewayTally {
    asked: Option<(Time, Option<IpAddr>)>,
    refused: Option<(Time, Option<IpAddr>)>,
    refused_count: i64,
}

/// Where a key's tally is in its shard's list, so that counting looks nothing up. Only who holds the shard's lock reads or writes it.
#[derive(Debug, Default)]
pub(super) struct Place {
    round: AtomicU32,
    at: AtomicU32,
}

impl Place {
    fn of(&self, round: u32) -> Option<usize> {
        (self.round.load(Ordering::Relaxed) == round).then(|| self.at.load(Ordering::Relaxed) as usize)
    }

    fn set(&self, round: u32, at: usize) {
        self.round.store(round, Ordering::Relaxed);
        self.at.store(u32::try_from(at).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// The keys that something happened to in one round: from one writing down to the next. A key that was read again in the meantime
/// may be in it twice.
struct Shard {
    round: u32,
    keys: Vec<(KeyId, KeyTally)>,
}

/// What happened since it was last written down.
pub(super) struct Tally {
    shards: [Mutex<Shard>; SHARDS],
    /// What could not be written, each key once.
    unwritten: Mutex<Vec<(KeyId, KeyTally)>>,
    gateways: Mutex<HashMap<i64, GatewayTally, foldhash::fast::RandomState>>,
    /// The bucket of the journal that was folded last.
    folded: AtomicI64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            // Round 0 is that of keys which were never counted.
            shards: std::array::from_fn(|_| Mutex::new(Shard { round: 1, keys: Vec::new() })),
            unwritten: Mutex::default(),
            gateways: Mutex::default(),
            folded: AtomicI64::new(0),
        }
    }
}

fn hour(at: Time) -> i64 {
    at.timestamp().div_euclid(3600)
}

/// In the order of their IDs, each once.
fn merge(keys: &mut Vec<(KeyId, KeyTally)>) {
    keys.sort_unstable_by_key(|(id, _)| *id);
    keys.dedup_by(|(id, tally), (kept_id, kept)| {
        let is_same = id == kept_id;
        if is_same {
            kept.add(tally);
        }
        is_same
    });
}

impl Tally {
    fn with(&self, id: KeyId, key: &Entry, add: impl FnOnce(&mut KeyTally)) {
        // IDs are random.
        let mut shard = lock(&self.shards[usize::from(id.bytes()[0]) % SHARDS]);
        let Shard { round, keys } = &mut *shard;
        let at = key.place.of(*round).unwrap_or_else(|| {
            key.place.set(*round, keys.len());
            keys.push((id, KeyTally::new(key.tenant.id)));
            keys.len() - 1
        });
        if let Some((_, tally)) = keys.get_mut(at) {
            add(tally);
        }
    }

    /// Counts an accepted decision; `first` where the secret had not been used before.
    pub(super) fn accepted(&self, id: KeyId, key: &Entry, used: LastUse, first: bool) {
        self.with(id, key, |tally| {
            tally.add_hour(hour(used.at), 1, 0);
            tally.add_use(used);
            tally.first |= first;
        });
    }

    pub(super) fn refused(&self, id: KeyId, key: &Entry, at: Time) {
        self.with(id, key, |tally| tally.add_hour(hour(at), 0, 1));
    }

    pub(super) fn gateway_asked(&self, id: GatewayId, at: Time, from: Option<IpAddr>) {
        lock(&self.gateways).entry(id.0).or_default().asked = Some((at, from));
    }

    pub(super) fn gateway_refused(&self, id: GatewayId, at: Time, from: Option<IpAddr>) {
        let mut gateways = lock(&self.gateways);
        let tally = gateways.entry(id.0).or_default();
        tally.refused = Some((at, from));
        tally.refused_count += 1;
    }

    /// Writes down what was collected, and folds some of the journal. What cannot be written is kept for the next time.
    pub(super) fn write_down(&self, store: &Store, now: Time) -> Result<(), StoreError> {
        let is_busy = self.write_keys(store, now)?;
        self.write_gateways(store, now)?;
        // In a busy second one bucket is enough: each has its turn about once a minute.
        self.fold(store, now, if is_busy { Duration::ZERO } else { FOLD })
    }

    /// Writes down what was collected, and folds as much of the journal as can be in two seconds. The rest is the next start's.
    pub(super) fn finish(&self, store: &Store, now: Time) -> Result<(), StoreError> {
        self.write_down(store, now)?;
        self.fold(store, now, FOLD_AT_THE_END)
    }

    fn fold(&self, store: &Store, now: Time, time: Duration) -> Result<(), StoreError> {
        let began = Instant::now();
        while let Some(bucket) = journal::next(store, self.folded.load(Ordering::Relaxed))? {
            // First, so that one that cannot be folded does not keep the others waiting.
            self.folded.store(bucket, Ordering::Relaxed);
            journal::fold(store, now, bucket)?;
            if began.elapsed() >= time {
                break;
            }
        }
        Ok(())
    }

    /// Whether so many keys were used that the journal was needed.
    fn write_keys(&self, store: &Store, now: Time) -> Result<bool, StoreError> {
        let mut keys = self.take_keys();
        let is_busy = keys.len() > STRAIGHT;
        if is_busy {
            let (straight, noted): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(_, tally)| tally.first);
            keys = straight;
            if let Err(error) = journal::note(store, now, &noted) {
                lock(&self.unwritten).extend(keys.into_iter().chain(noted));
                return Err(error);
            }
        }
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let batch: Vec<_> = keys.by_ref().take(BATCH).collect();
            if let Err(error) = store.write(now, |tx| write_keys(tx, &batch)) {
                lock(&self.unwritten).extend(batch.into_iter().chain(keys));
                return Err(error);
            }
        }
        Ok(is_busy)
    }

    /// Ends the round of each shard. Always in the same order, so that two processes never wait for each other.
    fn take_keys(&self) -> Vec<(KeyId, KeyTally)> {
        let mut keys = std::mem::take(&mut *lock(&self.unwritten));
        for shard in &self.shards {
            // The next round needs about as much room. It is made, and the list looked at, while requests can count.
            let room = Vec::with_capacity(lock(shard).keys.len());
            let ended = {
                let mut shard = lock(shard);
                shard.round = shard.round.wrapping_add(1);
                std::mem::replace(&mut shard.keys, room)
            };
            keys.extend(ended);
        }
        merge(&mut keys);
        keys
    }

    fn write_gateways(&self, store: &Store, now: Time) -> Result<(), StoreError> {
        let mut gateways: Vec<_> = std::mem::take(&mut *lock(&self.gateways)).into_iter().collect();
        gateways.sort_unstable_by_key(|(id, _)| *id);
        if gateways.is_empty() {
            return Ok(());
        }
        let written: Result<(), StoreError> = store.write(now, |tx| {
            gateways.iter().try_for_each(|(id, tally)| {
                let named = |seen: Option<(Time, Option<IpAddr>)>| seen.map(|(at, from)| (at, address(from)));
                let used = GatewayUse {
                    gateway: GatewayId(*id),
                    asked: named(tally.asked),
                    refused: named(tally.refused),
                    refused_count: tally.refused_count,
                };
                usage::gateway_used(tx, &used)
            })
        });
        if written.is_err() {
            let mut kept = lock(&self.gateways);
            for (id, tally) in gateways {
                let newer = kept.entry(id).or_default();
                newer.asked = newer.asked.or(tally.asked);
                newer.refused = newer.refused.or(tally.refused);
                newer.refused_count += tally.refused_count;
            }
        }
        written
    }
}

/// Writes to the rows of these keys, in the order of their IDs.
pub(super) fn write_keys(tx: &mut Tx<'_>, keys: &[(KeyId, KeyTally)]) -> Result<(), StoreError> {
    let uses: Vec<SecretUse> = keys
        .iter()
        .flat_map(|(id, tally)| tally.uses.iter().map(|used| SecretUse { key: *id, hash: used.hash, at: used.at, ip: address(used.ip) }))
        .collect();
    let counts: Vec<HourCount> = keys
        .iter()
        .flat_map(|(id, tally)| {
            tally.hours.iter().map(|(hour, accepted, refused)| HourCount {
                tenant: tally.tenant,
                key: *id,
                hour: *hour,
                accepted: *accepted,
                refused: *refused,
            })
        })
        .collect();
    usage::secrets_used(tx, &uses)?;
    usage::count_many(tx, &counts)
}
