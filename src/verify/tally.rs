//! Counts what was decided, off the request's path: last use and hourly counters are collected in memory and written together
//! each second and at shutdown. A crash loses at most that second of them.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::Mutex,
};

use super::memory::{address, lock};
use crate::{
    domain::{
        ids::{GatewayId, KeyId, TenantId},
        time::Time,
        token::SecretHash,
    },
    store::{
        Store, StoreError,
        usage::{self, GatewayUse, HourCount, SecretUse},
    },
};

const SHARDS: usize = 16;

/// How many keys are written in one transaction, so that others get their turn in between.
const BATCH: usize = 1000;

struct KeyTally {
    tenant: TenantId,
    /// Accepted and refused, by hours since 1970; one hour but for the change of the hour.
    hours: Vec<(i64, i64, i64)>,
    /// The last use of the current secret and of the old one.
    uses: Vec<(SecretHash, Time, Option<IpAddr>)>,
}

impl KeyTally {
    fn add_hour(&mut self, hour: i64, accepted: i64, refused: i64) {
        match self.hours.iter_mut().find(|(at, ..)| *at == hour) {
            Some(count) => {
                count.1 += accepted;
                count.2 += refused;
            }
            None => self.hours.push((hour, accepted, refused)),
        }
    }

    fn add_use(&mut self, hash: SecretHash, at: Time, ip: Option<IpAddr>) {
        match self.uses.iter_mut().find(|(of, ..)| *of == hash) {
            Some(last) if last.1 <= at => (last.1, last.2) = (at, ip),
            Some(_) => {}
            None => self.uses.push((hash, at, ip)),
        }
    }
}

#[derive(Default, Clone, Copy)]
struct GatewayTally {
    asked: Option<(Time, Option<IpAddr>)>,
    refused: Option<(Time, Option<IpAddr>)>,
    refused_count: i64,
}

/// What happened since it was last written down.
#[derive(Default)]
pub(super) struct Tally {
    keys: [Mutex<HashMap<KeyId, KeyTally>>; SHARDS],
    gateways: Mutex<HashMap<i64, GatewayTally>>,
    hasher: RandomState,
}

fn hour(at: Time) -> i64 {
    at.timestamp().div_euclid(3600)
}

impl Tally {
    #[allow(clippy::cast_possible_truncation)]
    fn with(&self, tenant: TenantId, id: KeyId, add: impl FnOnce(&mut KeyTally)) {
        let shard = self.hasher.hash_one(id) as usize % SHARDS;
        let mut keys = lock(&self.keys[shard]);
        add(keys.entry(id).or_insert_with(|| KeyTally { tenant, hours: Vec::new(), uses: Vec::new() }));
    }

    pub(super) fn accepted(&self, tenant: TenantId, id: KeyId, hash: SecretHash, at: Time, ip: Option<IpAddr>) {
        self.with(tenant, id, |tally| {
            tally.add_hour(hour(at), 1, 0);
            tally.add_use(hash, at, ip);
        });
    }

    pub(super) fn refused(&self, tenant: TenantId, id: KeyId, at: Time) {
        self.with(tenant, id, |tally| tally.add_hour(hour(at), 0, 1));
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

    /// Writes down what was collected. What cannot be written is kept for the next time.
    pub(super) fn write_down(&self, store: &Store, now: Time) -> Result<(), StoreError> {
        let mut keys: Vec<(KeyId, KeyTally)> = self.keys.iter().flat_map(|shard| std::mem::take(&mut *lock(shard))).collect();
        // Always in the same order, so that two processes never wait for each other.
        keys.sort_unstable_by_key(|(id, _)| *id);
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let batch: Vec<_> = keys.by_ref().take(BATCH).collect();
            if let Err(error) = write_keys(store, now, &batch) {
                batch.into_iter().chain(keys).for_each(|(id, tally)| self.put_back(id, tally));
                return Err(error);
            }
        }
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

    fn put_back(&self, id: KeyId, tally: KeyTally) {
        self.with(tally.tenant, id, |newer| {
            tally.hours.into_iter().for_each(|(hour, accepted, refused)| newer.add_hour(hour, accepted, refused));
            tally.uses.into_iter().for_each(|(hash, at, ip)| newer.add_use(hash, at, ip));
        });
    }
}

fn write_keys(store: &Store, now: Time, batch: &[(KeyId, KeyTally)]) -> Result<(), StoreError> {
    let uses: Vec<SecretUse> = batch
        .iter()
        .flat_map(|(id, tally)| tally.uses.iter().map(|(hash, at, ip)| SecretUse { key: *id, hash: *hash, at: *at, ip: address(*ip) }))
        .collect();
    let counts: Vec<HourCount> = batch
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
    store.write(now, |tx| {
        usage::secrets_used(tx, &uses)?;
        usage::count_many(tx, &counts)
    })
}
