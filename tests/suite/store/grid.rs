//! The grid against a model that keeps every key in a list and looks at each.

use std::{cmp::Ordering, collections::BTreeSet};

use chrono::Duration;
use keyward::{
    domain::{
        access::{KeyAccess, ResourceSet},
        ids::{KeyId, TenantId},
        ip_range::IpRanges,
        key::{Actor, Key, Life, SecretFacts, Use},
        lifetime::Lifetime,
        names::Scopes,
        time::Time,
        token::SecretHash,
    },
    store::{
        access,
        grid::{self, AccessFilter, Filter, Order, Sort, Tab, UsedFilter, View},
        keys::{self, NewKey},
        members::{self, Owner, Reach},
    },
};

use crate::support::TestApp;

/// Numbers that are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.roll(list.len())]
    }
}

/// A key as the model knows it.
#[derive(Clone)]
struct Known {
    key: Key,
    owner: Owner,
    role: String,
}

const NAMES: [&str; 16] = [
    "Warehouse sync",
    "warehouse test",
    "Zoll & Fracht",
    "100%_sure",
    "ab",
    "Ābele",
    "ΟΔΟΣ",
    "it's \"quoted\"",
    "Übersee",
    "a\\b",
    "xwarehousex",
    "10.0",
    "stock-sync one",
    "stock sync one",
    "stock_sync.one",
    "stock/sync:one",
];
const COMMENTS: [&str; 6] = ["", "", "Retire after the cut-over", "see ticket 77", "ware", "line one\nline two"];

/// Fills a tenant with `count` random keys and gives back what was made.
pub fn fill(app: &TestApp, slug: &str, count: usize, dice: &mut Dice) {
    let tenant = app.fixture.tenants[slug];
    let now = app.now();
    app.write(|tx| {
        let owners: Vec<Owner> = members::search(tx, tenant, "", false, 100)?;
        let roles = access::roles(tx, tenant)?;
        let mut made: Vec<(Key, Owner)> = Vec::new();
        for at in 0..count {
            let owner = dice.pick(&owners).clone();
            let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
            let id: String = (0..16).map(|_| char::from(*dice.pick(letters))).collect();
            let created = now - Duration::days(dice.roll(400) as i64);
            // Many share a value, so that the order within it shows.
            let maybe = |dice: &mut Dice, one_in: usize| dice.roll(one_in) == 0;
            let expires_at = if maybe(dice, 3) { None } else { Some(now + Duration::hours(dice.roll(60) as i64 * 24 - 400)) };
            let disabled = maybe(dice, 6);
            let revoked = maybe(dice, 6);
            let scopes = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Scopes>();
            let key = Key {
                id: KeyId::parse(&id).unwrap(),
                tenant,
                seq: 0,
                owner: owner.id,
                name: if maybe(dice, 2) {
                    (*dice.pick(&NAMES)).parse().unwrap()
                } else {
                    format!("{} {}", dice.pick(&NAMES), at % 40).parse().unwrap()
                },
                comment: (*dice.pick(&COMMENTS)).to_owned(),
                access: match dice.roll(3) {
                    0 => KeyAccess::Owner,
                    1 => KeyAccess::Role(dice.pick(&roles).id),
                    _ => KeyAccess::Scopes(scopes(&["shipments:read"])),
                },
                resources: ResourceSet::All,
                ip_ranges: IpRanges::default(),
                notice_recipients: vec![],
                created_at: created,
                changed_at: now - Duration::days(dice.roll(30) as i64),
                life: Life { expires_at, disabled_at: disabled.then_some(now), revoked_at: revoked.then_some(now) },
                lifetime: expires_at.map(|_| Lifetime::Days(90)),
                expiry_set_at: created,
                extensions: 0,
                current: SecretFacts { made_at: created, made_by: "x".into(), last_used: None },
                old: None,
                disabled_by: disabled.then(|| Actor { member: None, name: "x".into() }),
                revoked_by: revoked.then(|| Actor { member: None, name: "x".into() }),
                disable_reason: String::new(),
                revoke_reason: String::new(),
                last_used: (!maybe(dice, 3)).then(|| Use { at: now - Duration::days(dice.roll(60) as i64), ip: None }),
                version: 1,
            };
            made.push((key, owner));
        }
        let new: Vec<NewKey<'_>> =
            made.iter().map(|(key, owner)| NewKey { key, owner, hash: SecretHash([0; 32]), old_hash: None, pepper: 1 }).collect();
        keys::insert_many(tx, &new)
    });
}

/// Every key of a tenant, as it is in the database, found without the grid's queries.
fn known(app: &TestApp, tenant: TenantId, reach: &Reach) -> Vec<Known> {
    app.read(|db| {
        let all = grid::keys(db, reach, &(0..50_000).collect::<Vec<i64>>()[..])?;
        let owners = members::search(db, tenant, "", false, 1000)?;
        let roles = access::roles(db, tenant)?;
        Ok(all
            .into_iter()
            .map(|key| Known {
                owner: owners.iter().find(|owner| owner.id == key.owner).unwrap().clone(),
                role: match &key.access {
                    KeyAccess::Role(id) => roles.iter().find(|role| role.id == *id).unwrap().name.clone(),
                    _ => String::new(),
                },
                key,
            })
            .collect())
    })
}

fn reach(app: &TestApp, slug: &str, person: &str) -> (Reach, Duration) {
    let account = app.person(person).account;
    let acting = app.read(|db| members::acting(db, slug, account)).unwrap();
    (acting.reach(), acting.tenant.settings.expiring_soon())
}

fn matches_text(known: &Known, text: &str) -> bool {
    let text = text.replace(char::is_control, " ").trim().to_lowercase();
    let fields = [
        known.key.name.to_string(),
        known.key.id.to_string(),
        known.owner.name.clone(),
        known.owner.email.clone(),
        known.key.comment.clone(),
        known.role.clone(),
    ];
    let mut fields = fields.iter().map(|field| field.to_lowercase());
    match text.chars().count() {
        0 => true,
        1 | 2 => fields.any(|field| field.starts_with(&text)),
        _ => fields.any(|field| field.contains(&text)),
    }
}

fn matches(known: &Known, filter: &Filter, now: Time) -> bool {
    let month = now - Duration::days(30);
    matches_text(known, &filter.text)
        && filter.owner.is_none_or(|owner| known.key.owner == owner)
        && match (filter.access, &known.key.access) {
            (None, _) | (Some(AccessFilter::Owner), KeyAccess::Owner) | (Some(AccessFilter::Scopes), KeyAccess::Scopes(_)) => true,
            (Some(AccessFilter::Role(wanted)), KeyAccess::Role(role)) => wanted == *role,
            _ => false,
        }
        && match (filter.used, &known.key.last_used) {
            (None, _) | (Some(_), None) => true,
            (Some(UsedFilter::Never), Some(_)) => false,
            (Some(UsedFilter::NotFor30Days), Some(used)) => used.at < month,
        }
}

fn is_in(known: &Known, tab: Tab, now: Time, soon: Duration) -> bool {
    let life = known.key.life;
    let live = life.revoked_at.is_none() && life.disabled_at.is_none();
    let expired = life.expires_at.is_some_and(|end| end <= now);
    match tab {
        Tab::All => true,
        Tab::Revoked => life.revoked_at.is_some(),
        Tab::Disabled => life.revoked_at.is_none() && life.disabled_at.is_some(),
        Tab::Expired => live && expired,
        Tab::Active => live && !expired,
        Tab::ExpiringSoon => live && !expired && life.expires_at.is_some_and(|end| end <= now + soon),
    }
}

fn by(order: Order, a: &Known, b: &Known) -> Ordering {
    fn empty_last<T: Ord>(a: Option<T>, b: Option<T>, turn: impl Fn(Ordering) -> Ordering) -> Ordering {
        match (a, b) {
            (None, None) => Ordering::Equal,
            (None, _) => Ordering::Greater,
            (_, None) => Ordering::Less,
            (Some(a), Some(b)) => turn(a.cmp(&b)),
        }
    }
    let turn = |o: Ordering| if order.descending { o.reverse() } else { o };
    let owner = |known: &Known| format!("{}\n{}", known.owner.name, known.owner.email).to_lowercase();
    let first = match order.sort {
        Sort::Name => turn(a.key.name.as_str().to_lowercase().cmp(&b.key.name.as_str().to_lowercase())),
        Sort::Owner => turn(owner(a).cmp(&owner(b))),
        Sort::Created => Ordering::Equal,
        Sort::Changed => turn(a.key.changed_at.cmp(&b.key.changed_at)),
        Sort::Expires => empty_last(a.key.life.expires_at, b.key.life.expires_at, turn),
        Sort::LastUsed => empty_last(a.key.last_used.as_ref().map(|used| used.at), b.key.last_used.as_ref().map(|used| used.at), turn),
    };
    first.then_with(|| turn(a.key.seq.cmp(&b.key.seq)))
}

fn wanted(all: &[Known], view: &View<'_>, order: Order) -> (Vec<i64>, [usize; 6]) {
    let found: Vec<&Known> = all.iter().filter(|known| matches(known, view.filter, view.now)).collect();
    let counts = Tab::ALL.map(|(tab, ..)| found.iter().filter(|known| is_in(known, tab, view.now, view.soon)).count());
    let mut shown: Vec<&Known> = found.into_iter().filter(|known| is_in(known, view.filter.tab, view.now, view.soon)).collect();
    shown.sort_by(|a, b| by(order, a, b));
    (shown.into_iter().map(|known| known.key.seq).collect(), counts)
}

fn seqs(page: &grid::Page) -> Vec<i64> {
    page.keys.iter().map(|key| key.seq).collect()
}

/// Reads every page to the end and back again, and compares each.
fn walk(app: &TestApp, view: &View<'_>, order: Order, size: usize, wanted: &[i64], most_pages: usize) {
    let what = format!("{:?} {order:?}", view.filter);
    let first = app.read(|db| grid::page(db, view, order, None, size));
    let mut pages = vec![first];
    while let Some(next) = pages.last().unwrap().next.clone().filter(|_| pages.len() < most_pages) {
        // A place survives the way through an address.
        let next = grid::Cursor::parse(&next.to_string()).unwrap();
        pages.push(app.read(|db| grid::page(db, view, order, Some(&next), size)));
    }
    let forwards: Vec<i64> = pages.iter().flat_map(seqs).collect();
    assert_eq!(forwards, wanted[..wanted.len().min(most_pages * size)], "forwards: {what}");
    let mut at = pages.last().unwrap().clone();
    for before in pages.iter().rev().skip(1) {
        let place = at.previous.clone().unwrap_or_else(|| panic!("no way back: {what}"));
        at = app.read(|db| grid::page(db, view, order, Some(&place), size));
        assert_eq!(seqs(&at), seqs(before), "backwards: {what}");
        assert_eq!(at.before, before.before, "position: {what}");
    }
    assert!(at.previous.is_none(), "the first page has one before it: {what}");
}

fn filters(app: &TestApp, tenant: TenantId, dice: &mut Dice, count: usize) -> Vec<Filter> {
    let (owners, roles) = app.read(|db| Ok((members::search(db, tenant, "", false, 100)?, access::roles(db, tenant)?)));
    let texts = [
        "",
        "",
        "",
        "warehouse",
        "WAREHOUSE",
        "ware",
        "a",
        "AB",
        "1",
        "100%",
        "%_s",
        "\\b",
        "\"",
        "it's",
        "nothing like it",
        "οδος",
        "ābe",
        "ü",
        "acme.example",
        "Ship",
        "bi",
        "one\nline",
        "e e",
        "cut-over",
        " ab ",
        "\n\na",
        "''",
        "*",
        "zoll OR fracht",
        "10.",
        "stock-s",
        "stock s",
        "k_sync.",
        "k/sync:o",
        "sync one",
        "one stock",
    ];
    (0..count)
        .map(|_| Filter {
            text: (*dice.pick(&texts)).to_owned(),
            owner: (dice.roll(4) == 0).then(|| dice.pick(&owners).id),
            access: match dice.roll(8) {
                0 => Some(AccessFilter::Owner),
                1 => Some(AccessFilter::Role(dice.pick(&roles).id)),
                2 => Some(AccessFilter::Scopes),
                _ => None,
            },
            used: match dice.roll(6) {
                0 => Some(UsedFilter::Never),
                1 => Some(UsedFilter::NotFor30Days),
                _ => None,
            },
            tab: dice.pick(&Tab::ALL).0,
        })
        .collect()
}

const ORDERS: [Sort; 6] = [Sort::Name, Sort::Owner, Sort::Created, Sort::Changed, Sort::Expires, Sort::LastUsed];

/// Asks many filters of one who looks, and compares what they find with a look at each key.
fn filters_agree(app: &TestApp, slug: &str, person: &str, dice: &mut Dice) {
    let (reach, soon) = reach(app, slug, person);
    let tenant = app.fixture.tenants[slug];
    let all = known(app, tenant, &reach);
    assert!(all.iter().all(|known| known.key.tenant == tenant));
    for filter in filters(app, tenant, dice, 120) {
        let view = View { reach: &reach, filter: &filter, now: app.now(), soon };
        let order = Order { sort: *dice.pick(&ORDERS), descending: dice.roll(2) == 0 };
        let (wanted, counts) = wanted(&all, &view, order);
        let page = app.read(|db| grid::page(db, &view, order, None, 50));
        assert_eq!(page.counts.map(|count| count.number), counts, "{filter:?}");
        assert!(page.counts.iter().all(|count| !count.or_more), "{filter:?}");
        // Nobody's text is two line breaks: a filter of them is a filter of letters.
        walk(app, &view, order, 7, &wanted, 1000);
        let found = app.read(|db| grid::matching(db, &view));
        let found: BTreeSet<i64> = found.iter().map(|found| found.seq).collect();
        assert_eq!(found, wanted.iter().copied().collect(), "{filter:?}");
    }
}

both! {
    fn every_filter_finds_what_looking_at_each_key_finds(app) {
        let mut dice = Dice(7);
        fill(app, "acme", 300, &mut dice);
        fill(app, "globex", 60, &mut dice);
        for (slug, person) in [("acme", "ada"), ("globex", "gus"), ("acme", "dora")] {
            filters_agree(app, slug, person, &mut dice);
        }
    }

    fn what_has_changed_is_found_as_it_is_now(app) {
        let mut dice = Dice(5);
        fill(app, "acme", 200, &mut dice);
        let (reach, _) = reach(app, "acme", "ada");
        let all = known(app, app.fixture.tenants["acme"], &reach);
        app.write(|tx| {
            for (at, known) in all.iter().enumerate() {
                let (mut key, other) = (known.key.clone(), dice.pick(&all).clone());
                let mut owner = &known.owner;
                match at % 9 {
                    0 => key.name = "Xylophone".parse().unwrap(),
                    1 => (key.owner, owner) = (other.owner.id, &other.owner),
                    2 => key.life.expires_at = other.key.life.expires_at,
                    3 => key.life.disabled_at = key.life.disabled_at.xor(Some(key.created_at)),
                    4 => key.life.revoked_at = Some(key.created_at),
                    5 => key.access = other.key.access.clone(),
                    6 => key.comment = "warehouse ab".into(),
                    7 => {
                        keys::delete(tx, &key, owner)?;
                        continue;
                    }
                    _ => continue,
                }
                key.version += 1;
                assert!(keys::save(tx, &key, known.key.version, owner)?);
            }
            Ok(())
        });
        filters_agree(app, "acme", "ada", &mut dice);
    }

    fn more_than_ten_thousand_keys_are_paged_in_every_order_and_counted_to_a_bound(app) {
        let mut dice = Dice(11);
        fill(app, "acme", 10_600, &mut dice);
        fill(app, "globex", 30, &mut dice);
        let (reach, soon) = reach(app, "acme", "ada");
        let tenant = app.fixture.tenants["acme"];
        let all = known(app, tenant, &reach);
        for tab in [Tab::All, Tab::Active, Tab::Disabled, Tab::ExpiringSoon] {
            let filter = Filter { tab, ..Filter::default() };
            let view = View { reach: &reach, filter: &filter, now: app.now(), soon };
            for sort in ORDERS {
                for descending in [false, true].into_iter().filter(|down| tab == Tab::All || *down == (dice.roll(2) == 0)) {
                    let order = Order { sort, descending };
                    let (wanted, counts) = wanted(&all, &view, order);
                    let page = app.read(|db| grid::page(db, &view, order, None, 50));
                    for (count, exact) in page.counts.iter().zip(counts) {
                        assert_eq!((count.number, count.or_more), (exact.min(10_000), exact > 10_000));
                    }
                    if tab == Tab::All && sort.is_interesting() {
                        walk(app, &view, order, 1_500, &wanted, 1000);
                    } else {
                        walk(app, &view, order, 400, &wanted, 4);
                    }
                }
            }
        }
        // Text that nearly every key has: sorted by creation only, counts are lower bounds, nothing is left out on the way.
        let filter = Filter { text: "example".into(), ..Filter::default() };
        let view = View { reach: &reach, filter: &filter, now: app.now(), soon };
        let (wanted, counts) = wanted(&all, &view, Order::default());
        let page = app.read(|db| grid::page(db, &view, Order { sort: Sort::Name, descending: false }, None, 50));
        assert!(!page.sortable && page.order == Order::default());
        assert!(page.counts.iter().zip(counts).all(|(count, exact)| count.number <= exact && (count.or_more || count.number == exact)));
        assert_eq!(page.counts[0].to_string(), "10 000+");
        walk(app, &view, Order::default(), 1_500, &wanted, 1000);
        assert_eq!(app.read(|db| grid::matching(db, &view)).len(), wanted.len());
        // The same within a status that few have, and one that many have.
        for tab in [Tab::Revoked, Tab::Active, Tab::Expired] {
            let filter = Filter { tab, ..filter.clone() };
            let view = View { filter: &filter, ..view.clone() };
            let (wanted, _) = crate::store::grid::wanted(&all, &view, Order::default());
            walk(app, &view, Order::default(), 400, &wanted, 1000);
        }
    }

    fn text_that_very_many_keys_have_is_counted_to_a_bound_and_other_text_exactly(app) {
        let mut dice = Dice(3);
        fill(app, "acme", 46_000, &mut dice);
        let (reach, soon) = reach(app, "acme", "ada");
        let all = known(app, app.fixture.tenants["acme"], &reach);
        let narrow = app.fixture.members["acme/dora"];
        for (text, owner) in [("example", None), ("e", None), ("example", Some(narrow)), ("ware", None), ("one stock", None), ("nothing like it", None)] {
            for tab in [Tab::All, Tab::ExpiringSoon] {
                let filter = Filter { text: text.into(), owner, tab, ..Filter::default() };
                let view = View { reach: &reach, filter: &filter, now: app.now(), soon };
                let (wanted, counts) = wanted(&all, &view, Order::default());
                let page = app.read(|db| grid::page(db, &view, Order::default(), None, 50));
                assert!(page.counts.iter().zip(counts).all(|(count, exact)| count.number <= exact && (count.or_more || count.number == exact)), "{text}: {:?} of {counts:?}", page.counts);
                assert_eq!(page.counts[0].or_more && owner.is_none(), counts[0] > 10_000 && owner.is_none(), "{text}: {:?} of {counts:?}", page.counts);
                if owner.is_none() && counts[0] > 10_000 {
                    assert_eq!(page.counts[0].to_string(), "10 000+", "{text}");
                }
                walk(app, &view, Order::default(), 50, &wanted, 3);
            }
        }
    }

    fn a_place_that_makes_no_sense_shows_the_first_page(app) {
        let (reach, soon) = reach(app, "acme", "ada");
        let filter = Filter::default();
        let view = View { reach: &reach, filter: &filter, now: app.now(), soon };
        for place in ["n0.5.tx' OR 1=1--", "p50.99.i7", "n50.1", "p0.1", "n18446744073709551615.9223372036854775807.i-9223372036854775808"] {
            let place = grid::Cursor::parse(place).unwrap();
            for sort in ORDERS {
                let order = Order { sort, descending: false };
                let page = app.read(|db| grid::page(db, &view, order, Some(&place), 50));
                assert!(page.keys.len() <= 50);
            }
        }
        for place in ["", "x1.2", "n", "n1", "n1.x", "n1.2.q", "n1.2.i", "n-1.2", "ü"] {
            assert!(grid::Cursor::parse(place).is_none(), "{place}");
        }
    }

    fn the_last_thirty_days_are_added_up_by_day(app) {
        let tenant = app.fixture.tenants["acme"];
        let key = app.fixture.key("dora").id;
        let now = app.now();
        let hour = now.timestamp() / 3600;
        // It is 21 Nov, 10:00: ten hours back the day begins, 34 hours back the day before, and 706 hours back the 23 Oct.
        for (back, accepted) in [(0, 1), (10, 2), (11, 4), (34, 8), (706, 16), (707, 32)] {
            app.write(|tx| keyward::store::usage::count_many(tx, &[keyward::store::usage::HourCount { tenant, key, hour: hour - back, accepted, refused: 1 }]));
        }
        let month = app.read(|db| grid::usage(db, tenant, &[key], now))[&key];
        assert_eq!((month[29].accepted, month[28].accepted, month[0].accepted), (3, 12, 16));
        assert_eq!(month.iter().map(|day| day.refused).sum::<i64>(), 5);
        let other = app.fixture.tenants["globex"];
        assert!(app.read(|db| grid::usage(db, other, &[key], now)).is_empty());
    }
}

trait Interesting {
    fn is_interesting(&self) -> bool;
}

impl Interesting for Sort {
    /// The orders whose ways to the end differ: one text, one with empty values, and the default.
    fn is_interesting(&self) -> bool {
        matches!(self, Sort::Name | Sort::Expires | Sort::Created)
    }
}
