//! Looks events up: by key, member, action and time, within what a member may see. Read in the order of time by indexes, so
//! that a page of a million events is as quick as one of ten.

use std::collections::{HashMap, HashSet};

use diesel::{Connection, prelude::*};

use super::{
    Db, StoreError,
    conn::AnyConn,
    events::{self, columns},
    members::{Acting, Reach},
    micros,
    schema::{deleted_keys, event_chains as chains, events as table, keys as key_rows},
};
use crate::domain::{
    event::{Action, Event},
    ids::{KeyId, MemberId, TenantId},
    permission::Permission,
    time::Time,
};

/// How many own keys are looked at; the oldest deleted ones beyond it are left out.
const MOST_OWN: i64 = 20_000;
/// Up to how many keys are looked up one by one, which reads only what is shown.
const ONE_BY_ONE: usize = 16;
/// How many rows are counted to find which condition leaves the fewest.
const PROBE: i64 = 1_000;

type Search = table::BoxedQuery<'static, <AnyConn as Connection>::Backend>;

/// Which events a member may see. Made from the member's own row, never from input.
#[derive(Debug, Clone)]
pub struct Sight {
    tenant: TenantId,
    extent: Extent,
}

#[derive(Debug, Clone)]
enum Extent {
    /// All of the tenant.
    Everything,
    /// Those of keys, whoever owns them.
    EveryKey,
    /// All but those of other members' keys; the list has the own ones.
    OwnKeysAndTheRest(Vec<String>),
    /// Those of own keys.
    OwnKeys(Vec<String>),
}

impl Sight {
    /// What this member may see: everybody the events of their own keys, `keys.read_any` those of every key, `events.read` the
    /// rest.
    ///
    /// # Errors
    /// The database is away.
    pub fn of(db: &mut Db, acting: &Acting) -> Result<Self, StoreError> {
        let tenant = acting.tenant.id;
        let extent = match (acting.may(Permission::EventsRead), acting.may(Permission::KeysReadAny)) {
            (true, true) => Extent::Everything,
            (false, true) => Extent::EveryKey,
            (true, false) => Extent::OwnKeysAndTheRest(own_keys(db, acting)?),
            (false, false) => Extent::OwnKeys(own_keys(db, acting)?),
        };
        Ok(Self { tenant, extent })
    }

    fn narrow(&self, search: Search) -> Search {
        match &self.extent {
            Extent::Everything => search,
            Extent::EveryKey => search.filter(table::target_kind.eq("key")),
            Extent::OwnKeysAndTheRest(own) => search.filter(table::target_kind.ne("key").or(table::target_id.eq_any(own.clone()))),
            Extent::OwnKeys(own) => search.filter(table::target_kind.eq("key").and(table::target_id.eq_any(own.clone()))),
        }
    }
}

/// The IDs of the member's keys, of those that they keep for service accounts, and of deleted ones.
fn own_keys(db: &mut Db, acting: &Acting) -> Result<Vec<String>, StoreError> {
    let reach = Reach::own(acting);
    let owners = reach.owners().unwrap_or_default();
    let tenant = reach.tenant().number();
    let mut own: Vec<String> = key_rows::table
        .filter(key_rows::tenant_id.eq(tenant).and(key_rows::owner_id.eq_any(owners)))
        .order(key_rows::seq.desc())
        .limit(MOST_OWN)
        .select(key_rows::id)
        .load(db.conn())?;
    let rest = MOST_OWN - i64::try_from(own.len()).unwrap_or(MOST_OWN);
    let deleted: Vec<String> = deleted_keys::table
        .filter(deleted_keys::tenant_id.eq(tenant).and(deleted_keys::owner_id.eq_any(owners)))
        .order(deleted_keys::deleted_at.desc())
        .limit(rest)
        .select(deleted_keys::id)
        .load(db.conn())?;
    own.extend(deleted);
    Ok(own)
}

/// What is looked for; what is `None` is not asked.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Events of these keys.
    pub keys: Option<Vec<KeyId>>,
    /// What this member did, or what was done to them.
    pub member: Option<MemberId>,
    /// These actions.
    pub actions: Option<Vec<Action>>,
    /// From this moment.
    pub from: Option<Time>,
    /// Before this moment.
    pub to: Option<Time>,
    /// Up to this number in the chain.
    pub up_to: Option<i64>,
}

/// An event with its place in the chain.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its number, from 1.
    pub number: i64,
    /// What happened.
    pub event: Event,
    /// Its hash, over the one before it.
    pub hash: Vec<u8>,
}

/// Where a page is, by the number of an event that is not on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Right after this event: older ones.
    Older(i64),
    /// Right before this event: newer ones.
    Newer(i64),
}

/// The sealed head of a chain.
#[derive(Debug, Clone)]
pub struct Head {
    /// How many events it has had.
    pub count: i64,
    /// Up to which number they were purged.
    pub purged_to: i64,
    /// The hash of the newest.
    pub hash: Vec<u8>,
    /// The HMAC of the secret file over both.
    pub seal: Vec<u8>,
}

/// One way to look events up by an index that is in the order of time.
#[derive(Debug, Clone)]
enum Way {
    Time,
    Target(&'static str, String),
    Keys(Vec<String>),
    Actor(&'static str, String),
    Action(Action),
}

impl Way {
    fn narrow(&self, search: Search) -> Search {
        match self {
            Self::Time => search,
            Self::Target(kind, id) => search.filter(table::target_kind.eq(*kind).and(table::target_id.eq(id.clone()))),
            Self::Keys(ids) => search.filter(table::target_kind.eq("key").and(table::target_id.eq_any(ids.clone()))),
            Self::Actor(kind, id) => search.filter(table::actor_kind.eq(*kind).and(table::actor_id.eq(id.clone()))),
            Self::Action(action) => search.filter(table::action.eq(action.word())),
        }
    }
}

/// The keys that matter, where only some do.
fn keys_in(sight: &Sight, filter: &Filter) -> Option<Vec<String>> {
    let asked = filter.keys.as_ref().map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    match (&sight.extent, asked) {
        (Extent::OwnKeys(own), None) => Some(own.clone()),
        (Extent::OwnKeys(own) | Extent::OwnKeysAndTheRest(own), Some(asked)) => {
            let own: HashSet<&String> = own.iter().collect();
            Some(asked.into_iter().filter(|id| own.contains(id)).collect())
        }
        (_, asked) => asked,
    }
}

fn since_and_until(mut search: Search, filter: &Filter) -> Search {
    if let Some(from) = filter.from {
        search = search.filter(table::at.ge(micros(from)));
    }
    if let Some(to) = filter.to {
        search = search.filter(table::at.lt(micros(to)));
    }
    search
}

/// Everything that is asked for and allowed, whatever the index.
fn narrowed(sight: &Sight, filter: &Filter, keys: Option<&Vec<String>>) -> Search {
    let mut search: Search = table::table.filter(table::tenant_id.eq(sight.tenant.number())).into_boxed();
    search = match keys {
        // These are within sight already.
        Some(keys) => search.filter(table::target_kind.eq("key").and(table::target_id.eq_any(keys.clone()))),
        None => sight.narrow(search),
    };
    search = since_and_until(search, filter);
    if let Some(member) = filter.member {
        let id = member.to_string();
        let by = table::actor_kind.eq("member").and(table::actor_id.eq(id.clone()));
        let to = table::target_kind.eq("member").and(table::target_id.eq(id));
        search = search.filter(by.or(to));
    }
    if let Some(actions) = &filter.actions {
        let words: Vec<&'static str> = actions.iter().map(|action| action.word()).collect();
        search = search.filter(table::action.eq_any(words));
    }
    if let Some(number) = filter.up_to {
        search = search.filter(table::number.le(number));
    }
    search
}

/// The ways that together lead to everything that is asked for, by the condition that leaves the fewest events.
fn ways(db: &mut Db, sight: &Sight, filter: &Filter, keys: Option<&Vec<String>>) -> Result<Vec<Way>, StoreError> {
    let mut choices: Vec<Vec<Way>> = Vec::new();
    if let Some(keys) = keys {
        choices.push(match keys.len() {
            0..=ONE_BY_ONE => keys.iter().map(|id| Way::Target("key", id.clone())).collect(),
            _ => vec![Way::Keys(keys.clone())],
        });
    }
    if let Some(member) = filter.member {
        choices.push(vec![Way::Actor("member", member.to_string()), Way::Target("member", member.to_string())]);
    }
    if let Some(actions) = &filter.actions {
        choices.push(actions.iter().map(|action| Way::Action(*action)).collect());
    }
    if choices.is_empty() || filter.from.is_some() || filter.to.is_some() {
        choices.push(vec![Way::Time]);
    }
    if choices.len() == 1 {
        return Ok(choices.remove(0));
    }
    let mut best: Option<(usize, Vec<Way>)> = None;
    for choice in choices {
        let mut weight = 0;
        for way in &choice {
            let search: Search = table::table.filter(table::tenant_id.eq(sight.tenant.number())).into_boxed();
            let probe =
                way.narrow(since_and_until(search, filter)).select(table::number).order((table::at.desc(), table::number.desc())).limit(PROBE);
            weight += probe.load::<i64>(db.conn())?.len();
        }
        if best.as_ref().is_none_or(|(least, _)| weight < *least) {
            best = Some((weight, choice));
        }
    }
    Ok(best.map(|(_, ways)| ways).unwrap_or_default())
}

/// Up to `most` events that match, newest first, from a place on.
///
/// # Errors
/// The database is away.
pub fn page(db: &mut Db, sight: &Sight, filter: &Filter, place: Option<Place>, most: usize) -> Result<Vec<Line>, StoreError> {
    let keys = keys_in(sight, filter);
    if keys.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let older = !matches!(place, Some(Place::Newer(_)));
    let from = match place {
        Some(Place::Older(number) | Place::Newer(number)) => at_of(db, sight, number)?.map(|at| (at, number)),
        None => None,
    };
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut found: Vec<(i64, i64)> = Vec::new();
    for way in ways(db, sight, filter, keys.as_ref())? {
        let mut search = way.narrow(narrowed(sight, filter, keys.as_ref()));
        // The first comparison says what the second does once more, in a form that an index can follow.
        search = match (from, older) {
            (None, _) => search,
            (Some((at, number)), true) => search.filter(table::at.le(at)).filter(table::at.lt(at).or(table::number.lt(number))),
            (Some((at, number)), false) => search.filter(table::at.ge(at)).filter(table::at.gt(at).or(table::number.gt(number))),
        };
        search = if older { search.order((table::at.desc(), table::number.desc())) } else { search.order((table::at.asc(), table::number.asc())) };
        found.extend(search.select((table::at, table::number)).limit(limit).load::<(i64, i64)>(db.conn())?);
    }
    found.sort_unstable();
    found.dedup();
    if older {
        found.reverse();
        found.truncate(most);
    } else {
        found.truncate(most);
        found.reverse();
    }
    let numbers: Vec<i64> = found.into_iter().map(|(_, number)| number).collect();
    lines(db, sight.tenant, &numbers)
}

fn at_of(db: &mut Db, sight: &Sight, number: i64) -> Result<Option<i64>, StoreError> {
    Ok(table::table.find((sight.tenant.number(), number)).select(table::at).first(db.conn()).optional()?)
}

fn lines(db: &mut Db, tenant: TenantId, numbers: &[i64]) -> Result<Vec<Line>, StoreError> {
    let rows: Vec<events::Row> =
        table::table.filter(table::tenant_id.eq(tenant.number()).and(table::number.eq_any(numbers))).select(columns()).load(db.conn())?;
    let mut known: HashMap<i64, Line> = HashMap::with_capacity(rows.len());
    for row in rows {
        let (number, event, hash) = events::event(row)?;
        known.insert(number, Line { number, event, hash });
    }
    Ok(numbers.iter().filter_map(|number| known.remove(number)).collect())
}

/// One event, if it may be seen.
///
/// # Errors
/// The database is away.
pub fn one(db: &mut Db, sight: &Sight, number: i64) -> Result<Option<Line>, StoreError> {
    let seen: Option<i64> =
        narrowed(sight, &Filter::default(), None).filter(table::number.eq(number)).select(table::number).first(db.conn()).optional()?;
    Ok(match seen {
        Some(number) => lines(db, sight.tenant, &[number])?.pop(),
        None => None,
    })
}

/// The sealed head of the tenant's chain.
///
/// # Errors
/// The database is away.
pub fn head(db: &mut Db, sight: &Sight) -> Result<Head, StoreError> {
    let found: Option<(i64, i64, Vec<u8>, Vec<u8>)> = chains::table
        .find(sight.tenant.number())
        .select((chains::count, chains::purged_to, chains::head, chains::seal))
        .first(db.conn())
        .optional()?;
    let (count, purged_to, hash, seal) = found.unwrap_or_default();
    Ok(Head { count, purged_to, hash, seal })
}
