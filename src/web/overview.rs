//! The first page of a tenant: how its keys are, which expire next, and which are used most, refused most, and never.

use std::{collections::HashMap, fmt::Write as _};

use actix_web::HttpRequest;
use askama::Template;
use chrono::Datelike as _;

use super::{
    key_view::{KeyView, number},
    keys::{own_keys_url, views},
    keys_query::KeysQuery,
    page::{Frame, WebResult, see_other, show},
    session::Member,
};
use crate::{
    domain::{
        ids::KeyId,
        key::Key,
        permission::Permission,
        time::{Time, date_time, days},
    },
    store::{
        Db, StoreError,
        grid::{self, Count, Counts, Filter, Order, Sort, Tab, UsedFilter, View},
        members::{Acting, Reach},
    },
};

/// How many keys, those used last, the lists of most used and most refused are chosen from.
const LOOKED_AT: usize = 300;
/// How long a list is.
const FIVE: usize = 5;
/// How many blocks the picture of the next 30 days stacks.
const STACK: usize = 3;

/// A number that leads to the keys behind it.
struct Part {
    class: &'static str,
    label: &'static str,
    count: Count,
    url: String,
    x: String,
    width: String,
}

/// A line of a list.
struct Line {
    key: KeyView,
    /// What is told of it.
    figure: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    base: String,
    tenant: String,
    moment: String,
    total: Count,
    parts: Vec<Part>,
    sentence: String,
    keys_off: bool,
    may_create: bool,
    strip: Strip,
    next: Vec<KeyView>,
    soon_url: String,
    notices: String,
    most_used: Vec<Line>,
    most_refused: Vec<Line>,
    /// Whether these two lists are chosen from a part of the keys.
    is_part: bool,
    never_used: Vec<Line>,
    never_url: String,
}

/// The picture of the next 30 days.
struct Strip {
    weekends: Vec<String>,
    blocks: Vec<(&'static str, String, usize)>,
    ticks: Vec<(String, String)>,
    label: String,
    total: String,
}

fn percent(part: usize, of: usize) -> String {
    let hundredths = part * 10_000 / of.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn strip(expiries: &[Time], now: Time) -> Strip {
    const DAYS: usize = 31;
    let mut per_day = [0_usize; DAYS];
    for end in expiries {
        let day = (end.date_naive() - now.date_naive()).num_days();
        if let Some(count) = usize::try_from(day).ok().and_then(|day| per_day.get_mut(day)) {
            *count += 1;
        }
    }
    let mut strip =
        Strip { weekends: vec![], blocks: vec![], ticks: vec![], label: String::new(), total: number(i64::try_from(expiries.len()).unwrap_or(0)) };
    let mut words = Vec::new();
    for (day, count) in per_day.iter().enumerate() {
        let date = now + days(i64::try_from(day).unwrap_or(0));
        if date.weekday().number_from_monday() > 5 {
            strip.weekends.push(percent(day, DAYS));
        }
        let class = match day {
            0..=7 => "k-x",
            8..=14 => "k-w",
            _ => "k",
        };
        for at in 0..(*count).min(STACK) {
            let hundredths = day * 10_000 / DAYS + 58;
            strip.blocks.push((class, format!("{}.{:02}", hundredths / 100, hundredths % 100), 50 - at * 22));
        }
        if *count > 0 && words.len() < 12 {
            words.push(format!("{count} on {}", date.format("%-d %B")));
        }
        if day % 7 == 0 && day > 0 {
            strip.ticks.push((percent(day * 2 + 1, DAYS * 2), date.format("%-d %b").to_string()));
        }
    }
    strip.label = if words.is_empty() {
        "No key expires in the next 30 days".into()
    } else {
        format!("Keys that expire in the next 30 days: {}", words.join(", "))
    };
    strip
}

/// What is read for the page.
struct Read {
    counts: Counts,
    expiries: Vec<Time>,
    next: Vec<KeyView>,
    most_used: Vec<Line>,
    most_refused: Vec<Line>,
    is_part: bool,
    never_used: Vec<Line>,
}

fn read(db: &mut Db, acting: &Acting, reach: &Reach, now: Time) -> Result<Read, StoreError> {
    let soon = acting.tenant.settings.expiring_soon();
    let everything = Filter::default();
    let view = View { reach, filter: &everything, now, soon };
    let counts = grid::counts(db, &view)?;
    let expiries = grid::expiries(db, reach, now, now + days(30))?;
    let next_filter = Filter { tab: Tab::Active, ..Filter::default() };
    let next_view = View { filter: &next_filter, ..view.clone() };
    let next = grid::first(db, &next_view, Order { sort: Sort::Expires, descending: false }, FIVE)?;
    let next: Vec<Key> = next.into_iter().filter(|key| key.life.expires_at.is_some()).collect();
    let (next, _) = views(db, acting, &next, false, now)?;

    let used = grid::first(db, &view, Order { sort: Sort::LastUsed, descending: true }, LOOKED_AT)?;
    let looked_at: Vec<&Key> = used.iter().filter(|key| key.last_used.is_some()).collect();
    let is_part = looked_at.len() == LOOKED_AT;
    // A key that was only ever refused has no last use: the first page by use holds it where there are few keys.
    let ids: Vec<KeyId> = used.iter().map(|key| key.id).collect();
    let months = grid::usage(db, acting.tenant.id, &ids, now)?;
    let sums: HashMap<KeyId, (i64, i64)> =
        months.iter().map(|(id, month)| (*id, month.iter().fold((0, 0), |sum, day| (sum.0 + day.accepted, sum.1 + day.refused)))).collect();
    let top = |figure: fn(&(i64, i64)) -> i64| {
        let mut ranked: Vec<(i64, &Key)> =
            used.iter().filter_map(|key| sums.get(&key.id).map(|sum| (figure(sum), key))).filter(|(n, _)| *n > 0).collect();
        ranked.sort_by_key(|(n, key)| (std::cmp::Reverse(*n), key.seq));
        ranked.truncate(FIVE);
        ranked.into_iter().map(|(n, key)| (n, key.clone())).collect::<Vec<_>>()
    };
    let lines = |db: &mut Db, ranked: Vec<(i64, Key)>| -> Result<Vec<Line>, StoreError> {
        let keys: Vec<Key> = ranked.iter().map(|(_, key)| key.clone()).collect();
        let (rows, _) = views(db, acting, &keys, true, now)?;
        Ok(rows.into_iter().zip(ranked).map(|(key, (n, _))| Line { key, figure: number(n) }).collect())
    };
    let most_used = lines(db, top(|sum| sum.0 + sum.1))?;
    let most_refused = lines(db, top(|sum| sum.1))?;

    let never_filter = Filter { used: Some(UsedFilter::Never), tab: Tab::Active, ..Filter::default() };
    let never_view = View { filter: &never_filter, ..view.clone() };
    let never = grid::first(db, &never_view, Order { sort: Sort::Created, descending: false }, FIVE)?;
    let (never_rows, _) = views(db, acting, &never, false, now)?;
    let never_used = never_rows
        .into_iter()
        .zip(&never)
        .map(|(view, key)| Line {
            figure: match (now - key.created_at).num_days() {
                0 => "today".into(),
                1 => "1 day".into(),
                n => format!("{n} days"),
            },
            key: view,
        })
        .collect();
    Ok(Read { counts, expiries, next, most_used, most_refused, is_part, never_used })
}

/// `GET /t/{tenant}`
///
/// # Errors
/// See [`super::error::WebError`].
pub async fn overview(member: Member, _req: HttpRequest) -> WebResult {
    if !member.may(Permission::KeysReadAny) {
        return Ok(see_other(&member.frame, &own_keys_url(&member.acting)));
    }
    let (acting, now) = (member.acting.clone(), member.site.clock.now());
    let found: Result<Read, StoreError> = member.read(move |db, reach| read(db, &acting, reach, now)).await;
    let found = found?;
    let base = member.url("/keys");
    let settings = &member.acting.tenant.settings;
    let at = |tab: Tab| Tab::ALL.iter().position(|(t, ..)| *t == tab).map_or_else(Count::default, |at| found.counts[at]);
    let url = |query: &KeysQuery| format!("{base}{}", query.to_query());
    let first = KeysQuery::default();
    let named = [
        (Tab::Active, "s-active", "Active"),
        (Tab::ExpiringSoon, "s-soon", "of them expiring soon"),
        (Tab::Disabled, "s-disabled", "Disabled"),
        (Tab::Expired, "s-expired", "Expired"),
        (Tab::Revoked, "s-revoked", "Revoked"),
    ];
    // Those that expire soon are a part of the active ones and are drawn in their place.
    let width = |tab: Tab| match tab {
        Tab::Active => at(Tab::Active).number.saturating_sub(at(Tab::ExpiringSoon).number),
        tab => at(tab).number,
    };
    let whole: usize = named.iter().map(|(tab, ..)| width(*tab)).sum();
    let mut start = 0;
    let parts: Vec<Part> = named
        .iter()
        .map(|(tab, class, label)| {
            let part =
                Part { class, label, count: at(*tab), url: url(&first.with_tab(*tab)), x: percent(start, whole), width: percent(width(*tab), whole) };
            start += width(*tab);
            part
        })
        .collect();
    let mut sentence = String::new();
    let _ = write!(
        sentence,
        "{} active, of these {} expire soon; {} disabled; {} expired; {} revoked",
        at(Tab::Active),
        at(Tab::ExpiringSoon),
        at(Tab::Disabled),
        at(Tab::Expired),
        at(Tab::Revoked)
    );
    let mut notices: Vec<String> = settings.notice_days.iter().map(ToString::to_string).collect();
    let last = notices.pop();
    let notices = match (notices.is_empty(), last) {
        (_, None) => String::new(),
        (true, Some(one)) => format!("Notices go out {one} days before."),
        (false, Some(last)) => format!("Notices go out {} and {last} days before.", notices.join(", ")),
    };
    let never = KeysQuery { filter: Filter { used: Some(UsedFilter::Never), tab: Tab::Active, ..Filter::default() }, ..KeysQuery::default() };
    let by_expiry = KeysQuery { order: Order { sort: Sort::Expires, descending: false }, ..first.with_tab(Tab::Active) };
    show(&OverviewPage {
        frame: member.frame.clone(),
        tenant: member.acting.tenant.name.clone(),
        moment: date_time(now),
        total: at(Tab::All),
        parts,
        sentence,
        keys_off: !settings.keys_enabled,
        may_create: (member.may(Permission::KeysManageOwn) || member.may(Permission::KeysManageAny)) && settings.keys_enabled,
        strip: strip(&found.expiries, now),
        next: found.next,
        soon_url: url(&by_expiry),
        notices,
        most_used: found.most_used,
        most_refused: found.most_refused,
        is_part: found.is_part,
        never_used: found.never_used,
        never_url: url(&never),
        base,
    })
}
