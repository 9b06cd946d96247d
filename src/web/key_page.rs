//! The page of one key: all its fields, both secrets while an overlap runs, its requests and its events.

use actix_web::web::Path;
use askama::Template;

use super::{
    chart::{self, Chart},
    key_activity::{self, Line},
    key_facts::{self, Allowed, KeyFacts, Used, expiry_words, lifetime_words, used_words, why},
    key_refused::list_link,
    key_view::{self, StatusView},
    page::{Frame, Link, WebResult, show},
    session::Member,
};
use crate::{
    domain::{
        key::{Key, SecretFacts, Status},
        names::EmailAddress,
        time::{Time, date, date_time, left},
    },
    store::{StoreError, events, keys as rows},
};

/// How many events are listed.
const MOST_EVENTS: i64 = 50;

/// A secret as the card tells of it; nothing of the secret itself.
struct SecretView {
    made: String,
    by: String,
    how: &'static str,
    used: Used,
}

/// The old secret while its overlap runs.
struct OverlapView {
    secret: SecretView,
    until: String,
    left: String,
    seconds_left: i64,
    datetime: String,
    /// How much of the overlap is left, of 100.
    percent: i64,
    silent: bool,
}

/// A sentence about the state of the key that needs attention.
struct Notice {
    tone: &'static str,
    symbol: &'static str,
    words: String,
    /// A link and what it is called; both may be empty.
    url: String,
    label: &'static str,
}

#[derive(Template)]
#[template(path = "keys/page.html")]
struct KeyPage {
    frame: Frame,
    crumbs: Vec<Link>,
    id: String,
    name: String,
    url: String,
    explain: String,
    find: String,
    status: StatusView,
    allowed: Allowed,
    /// Whether enabling asks for a code; else the button does it.
    enable_asks: bool,
    version: i64,
    notices: Vec<Notice>,
    current: SecretView,
    overlap: Option<OverlapView>,
    stopped: String,
    chart: Chart,
    used: Used,
    activity: Vec<Line>,
    details: Vec<(&'static str, Vec<String>, bool)>,
}

fn secret(facts: &SecretFacts, created_at: Time, now: Time) -> SecretView {
    SecretView {
        made: date_time(facts.made_at),
        by: facts.made_by.clone(),
        how: if facts.made_at == created_at { "creating the key" } else { "rolling the key" },
        used: used_words(facts.last_used.as_ref(), now),
    }
}

fn overlap(key: &Key, now: Time) -> Option<OverlapView> {
    let old = key.overlap(now)?;
    let whole = (old.stops_at - old.replaced_at.max(key.current.made_at)).num_seconds().max(1);
    let rest = (old.stops_at - now).num_seconds();
    let since = old.secret.last_used.as_ref().map_or(old.replaced_at, |used| used.at.max(old.replaced_at));
    Some(OverlapView {
        secret: secret(&old.secret, key.created_at, now),
        until: date_time(old.stops_at),
        left: left(old.stops_at, now),
        seconds_left: rest,
        datetime: old.stops_at.format("%Y-%m-%dT%H:%MZ").to_string(),
        percent: (rest * 100 / whole).clamp(1, 100),
        silent: now - since >= chrono::Duration::hours(24),
    })
}

fn notices(member: &Member, facts: &KeyFacts, allowed: Allowed, now: Time) -> Vec<Notice> {
    let (key, tenant) = (&facts.key, &member.acting.tenant);
    let mut list = Vec::new();
    let mut say = |tone, symbol, words: String, link: Option<(&str, &'static str)>| {
        let (url, label) = link.map_or_else(Default::default, |(end, label)| (facts.url(member, end), label));
        list.push(Notice { tone, symbol, words, url, label });
    };
    if !tenant.settings.keys_enabled {
        say("bad", "power-off", format!("API keys are turned off for {}. This key is refused until they are turned on again.", tenant.name), None);
    }
    if !facts.owner.is_active() {
        let how = if facts.owner.removed_at.is_some() { "was removed" } else { "is suspended" };
        say("bad", "user-minus", format!("{} {how}, so this key is refused.", facts.owner.name), None);
    }
    match (key.life.status(now), key.life.expires_at) {
        (Status::Revoked, _) => {
            let by = key.revoked_by.as_ref().map(|actor| format!(" by {}", actor.name)).unwrap_or_default();
            let when = key.life.revoked_at.map(date_time).unwrap_or_default();
            say("bad", "ban", format!("Revoked on {when}{by}. It is refused for good.{}", why(&key.revoke_reason)), None);
        }
        (Status::Disabled, _) => {
            let by = key.disabled_by.as_ref().map(|actor| format!(" by {}", actor.name)).unwrap_or_default();
            let when = key.life.disabled_at.map(date_time).unwrap_or_default();
            let another = member.acting.disabled_by_another(key).is_some();
            let who = if another && !allowed.enable { " Only someone who may revoke any key can enable it." } else { "" };
            say(
                "",
                "circle-pause",
                format!("Disabled on {when}{by}. It is refused until it is enabled; its expiry keeps running.{who}{}", why(&key.disable_reason)),
                (allowed.enable && tenant.settings.code_actions.enable).then_some(("/enable", "Enable…")),
            );
        }
        (Status::Expired, Some(end)) => {
            let until = tenant.grace.end(end, now);
            if until > now {
                say(
                    "warn",
                    "hourglass",
                    format!("This key expired on {} and works until {}, the end of its grace.", date(end), date_time(until)),
                    allowed.renew.then_some(("/renew", "Renew…")),
                );
            } else {
                say(
                    "bad",
                    "timer-off",
                    format!("This key expired on {} and is refused. Only a roll brings it back.", date(end)),
                    allowed.roll.then_some(("/roll", "Roll…")),
                );
            }
        }
        (Status::Active, Some(end)) if end - now <= tenant.settings.expiring_soon() => {
            let until = tenant.grace.end(end, now);
            let grace =
                if until > end { format!(" After that it keeps working until {}, the end of its grace.", date(until)) } else { String::new() };
            say(
                "warn",
                "clock",
                format!("This key expires on {}, in {}.{grace}", date(end), left(end, now)),
                allowed.renew.then_some(("/renew", "Renew…")),
            );
        }
        _ => {}
    }
    list
}

fn details(member: &Member, facts: &KeyFacts, now: Time) -> Vec<(&'static str, Vec<String>, bool)> {
    let (key, tenant) = (&facts.key, &member.acting.tenant);
    let one = |text: String| vec![text];
    let owner = if facts.owner.is_service() { format!("{} (service account)", facts.owner.name) } else { facts.owner.name.clone() };
    let mut notices = vec!["Owner".to_owned()];
    notices.extend(key.notice_recipients.iter().map(EmailAddress::to_string));
    let ranges = if key.ip_ranges.is_empty() { one("Any address".into()) } else { key.ip_ranges.texts() };
    let mut list = vec![
        ("Owner", vec![owner, facts.owner.email.clone()], false),
        ("Access", one(facts.access_words(&member.acting)), false),
        ("Resources", facts.resource_words(&member.acting), false),
        ("IP ranges", ranges, !key.ip_ranges.is_empty()),
        ("Created", one(date_time(key.created_at)), false),
        ("Last changed", one(date_time(key.changed_at)), false),
        ("Expires", one(expiry_words(key.life.expires_at, &tenant.grace, now)), false),
        (
            "Lifetime",
            one(key.lifetime.map_or_else(|| "Never expires".into(), |length| format!("{}, as first set", lifetime_words(Some(length))))),
            false,
        ),
    ];
    if key.life.expires_at.is_some() {
        list.push(("Extensions", one(format!("{} of {} by link", key.extensions, tenant.settings.extensions)), false));
    }
    list.push(("Notices to", notices, false));
    if !key.comment.is_empty() {
        list.push(("Comment", key.comment.lines().map(str::to_owned).collect(), false));
    }
    list
}

/// The page.
pub async fn page(member: Member, path: Path<(String, String)>) -> WebResult {
    let facts = key_facts::find(&member, &path.1).await?;
    let now = member.by().now;
    let (tenant, id) = (facts.key.tenant, facts.key.id);
    let read: Result<_, StoreError> =
        member.read(move |db, _| Ok((rows::usage_since(db, tenant, id, chart::from(now))?, events::of_key(db, tenant, id, MOST_EVENTS)?))).await;
    let (hours, events) = read?;
    let key = &facts.key;
    let allowed = facts.allowed(&member.acting, now);
    let rolled_at = (key.current.made_at != key.created_at).then_some(key.current.made_at);
    let stopped = key.old.as_ref().filter(|old| old.stops_at <= now);
    let page = KeyPage {
        frame: member.frame.clone(),
        crumbs: vec![list_link(&member)],
        id: key.id.to_string(),
        name: key.name.to_string(),
        url: facts.url(&member, ""),
        explain: member.url(&format!("/explain?key={}", key.id)),
        find: member.url("/keys/find"),
        status: key_view::status(&key.life, &member.acting.tenant, facts.owner.is_active(), now),
        allowed,
        enable_asks: member.acting.tenant.settings.code_actions.enable,
        version: key.version,
        notices: notices(&member, &facts, allowed, now),
        current: secret(&key.current, key.created_at, now),
        overlap: overlap(key, now),
        stopped: stopped
            .map(|old| format!("The secret of {} stopped on {}.", date_time(old.secret.made_at), date_time(old.stops_at)))
            .unwrap_or_default(),
        chart: chart::draw(&hours, rolled_at, now),
        used: used_words(key.last_used.as_ref(), now),
        activity: events.iter().map(|event| key_activity::line(event, now)).collect(),
        details: details(&member, &facts, now),
    };
    show(&page)
}
