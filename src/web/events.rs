//! Events: who did what to which key, when, and from where. Everybody sees those of their own keys; `events.read` opens all.

use std::collections::HashMap;

use actix_web::{HttpRequest, http::StatusCode, web::Path};
use askama::Template;
use chrono::{Datelike as _, NaiveDate};

use super::{
    error::WebError,
    form::Form,
    key_activity,
    keys_query::{self, KeysQuery},
    page::{Frame, Link, WebResult, html, show, show_as, status_of},
    picker::{self, MemberFilter},
    session::Member,
};
use crate::{
    domain::{
        event::{Action, Event},
        ids::{KeyId, MemberId},
        permission::Permission,
        time::{Time, date_time, days},
    },
    store::{
        Db, StoreError,
        event_search::{self as events, Filter, Line, Place, Sight},
        grid::{self, View},
        keys,
        members::{Acting, Reach},
    },
};

/// How many rows a page has.
const PAGE: usize = 50;
/// How many keys can be searched for at once.
const MOST_KEYS: usize = 1_000;
/// How many keys are named above the list.
const CHIPS: usize = 20;

/// The nouns of actions with what people read for all of one.
const NOUNS: [(&str, &str); 11] = [
    ("key", "Keys"),
    ("account", "Sign-ins and accounts"),
    ("member", "Members"),
    ("role", "Console roles"),
    ("scope", "Scopes"),
    ("access_role", "Access roles"),
    ("resource", "Resources"),
    ("gateway", "Gateway credentials"),
    ("tenant", "Tenant and settings"),
    ("events", "Events"),
    ("mail", "Mail"),
];

fn noun(action: Action) -> &'static str {
    action.word().split('.').next().unwrap_or_default()
}

/// What is asked for, as it stands in the address.
#[derive(Debug, Clone, Default)]
pub struct EventsQuery {
    keys: Vec<KeyId>,
    /// All keys that match, as the grid asked for them.
    all: Option<KeysQuery>,
    /// What was typed to find keys by; they are in `all`, too.
    find: String,
    member: Option<MemberId>,
    action: String,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    place: Option<Place>,
}

impl EventsQuery {
    /// Reads the fields of an address. A date that is none stays in the form with its error.
    pub fn read(form: &mut Form) -> Self {
        let mut keys: Vec<KeyId> = Vec::new();
        for id in form.all("key").filter_map(|id| KeyId::parse(id.trim())) {
            if !keys.contains(&id) && keys.len() < MOST_KEYS {
                keys.push(id);
            }
        }
        let known = |word: &str| NOUNS.iter().any(|(noun, _)| *noun == word) || Action::of_word(word).is_some();
        let action = Some(form.text("action")).filter(|word| known(word)).unwrap_or_default().to_owned();
        let place = match form.text("at").split_at_checked(1) {
            Some(("n", number)) => number.parse().ok().map(Place::Older),
            Some(("p", number)) => number.parse().ok().map(Place::Newer),
            _ => None,
        };
        let mut all = form.checked("all").then(|| KeysQuery::read(form).first());
        // What is typed is a key's ID, else it is looked for as the grid would.
        let mut find = String::new();
        let typed: String = form.text("find").trim().chars().take(200).collect();
        match KeyId::parse(&typed) {
            _ if typed.is_empty() => {}
            Some(id) if all.is_none() => {
                if !keys.contains(&id) && keys.len() < MOST_KEYS {
                    keys.push(id);
                }
            }
            _ => {
                keys.clear();
                let mut query = KeysQuery::default();
                query.filter.text.clone_from(&typed);
                all = Some(query);
                find = typed;
            }
        }
        let member = form.text("member").parse().ok().map(MemberId);
        let mut day = |name: &str| {
            form.parse(name, |text| match text.trim() {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|_| "Enter a date such as 2026-11-21."),
            })
            .flatten()
        };
        let (from, to) = (day("from"), day("to"));
        Self { keys, all, find, member, action, from, to, place }
    }

    fn actions(&self) -> Vec<Action> {
        Action::ALL.iter().copied().filter(|action| action.word() == self.action || noun(*action) == self.action).collect()
    }

    fn fields(&self, place: Option<Place>) -> Vec<(&'static str, String)> {
        let mut fields: Vec<(&'static str, String)> = self.keys.iter().map(|id| ("key", id.to_string())).collect();
        if !self.find.is_empty() {
            fields.push(("find", self.find.clone()));
        } else if let Some(all) = &self.all {
            fields.push(("all", "1".into()));
            fields.extend(all.filter_fields());
        }
        fields.extend(self.member.map(|id| ("member", id.to_string())));
        fields.extend(Some(("action", self.action.clone())).filter(|(_, word)| !word.is_empty()));
        fields.extend(self.from.map(|day| ("from", day.to_string())));
        fields.extend(self.to.map(|day| ("to", day.to_string())));
        fields.extend(place.map(|place| match place {
            Place::Older(number) => ("at", format!("n{number}")),
            Place::Newer(number) => ("at", format!("p{number}")),
        }));
        fields
    }

    /// The query of an address, from a place in the list.
    fn to_query(&self, place: Option<Place>) -> String {
        keys_query::query(&self.fields(place))
    }

    fn is_set(&self) -> bool {
        !self.fields(None).is_empty()
    }

    /// What the store looks for, and whether more keys match than can be searched for.
    pub fn filter(&self, db: &mut Db, acting: &Acting, reach: &Reach, now: Time) -> Result<(Filter, bool), StoreError> {
        let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).map(|at| at.and_utc());
        let mut filter = Filter {
            keys: if self.keys.is_empty() { None } else { Some(self.keys.clone()) },
            member: self.member,
            actions: if self.action.is_empty() { None } else { Some(self.actions()) },
            from: self.from.and_then(midnight),
            to: self.to.and_then(midnight).map(|at| at + days(1)),
            up_to: None,
        };
        let Some(all) = &self.all else { return Ok((filter, false)) };
        let view = View { reach, filter: &all.filter, now, soon: acting.tenant.settings.expiring_soon() };
        let page = grid::page(db, &view, grid::Order::default(), None, MOST_KEYS)?;
        let more = page.next.is_some();
        filter.keys = Some(page.keys.into_iter().map(|key| key.id).collect());
        Ok((filter, more))
    }
}

/// A row of the list.
struct Row {
    number: i64,
    day: String,
    time: String,
    datetime: String,
    symbol: &'static str,
    tone: &'static str,
    verb: String,
    rest: String,
    more: String,
    key: String,
    key_url: String,
    by: String,
    ip: String,
    url: String,
}

fn looks(action: Action) -> (&'static str, &'static str) {
    match (action, noun(action)) {
        (Action::SignInFailed, _) => ("shield-alert", "warn"),
        (Action::SignedOut | Action::SessionEnded, _) => ("log-out", ""),
        (Action::SignedIn, _) => ("log-in", ""),
        (Action::TenantSuspended, _) => ("lock", "warn"),
        (Action::MemberSuspended | Action::MemberRemoved, _) => ("user-minus", "warn"),
        (Action::MemberInvited | Action::MemberJoined, _) => ("user-plus", ""),
        (Action::KeyExported, _) => ("download", ""),
        (_, "account") => ("smartphone", ""),
        (_, "member") => ("users-round", ""),
        (_, "tenant") => ("settings", ""),
        (_, "role") => ("shield-check", ""),
        (_, "gateway") => ("key-round", ""),
        (_, "mail") => ("mail", ""),
        _ => ("list-checks", ""),
    }
}

/// Who did it: a name says nothing of a key or link.
fn by_whom(event: &Event) -> String {
    let name = &event.actor.name;
    match event.actor.kind.as_str() {
        "key" => format!("Key “{name}”"),
        "link" => format!("Link of {name}"),
        "command" => format!("Command {name}"),
        "installation_owner" => format!("{name} (installation owner)"),
        _ => name.clone(),
    }
}

fn row(line: &Line, base: &str, known: &HashMap<String, String>, now: Time) -> Row {
    let event = &line.event;
    let is_key = event.target_kind == "key";
    let words = key_activity::line(event, now);
    let (symbol, tone) = if is_key { (words.symbol, words.tone.trim_start_matches("ic-")) } else { looks(event.action) };
    let (verb, rest) = words.did.split_once(' ').unwrap_or((words.did, ""));
    let mut chars = verb.chars();
    let verb = chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default();
    let is_self = event.target_kind == event.actor.kind && event.target_id == event.actor.id;
    let name = if is_key || is_self || event.target_kind == "tenant" || event.target_name.is_empty() {
        String::new()
    } else {
        format!(" {}", event.target_name)
    };
    Row {
        number: line.number,
        day: event.at.format(if event.at.year() == now.year() { "%-d %b" } else { "%-d %b %Y" }).to_string(),
        time: event.at.format("%H:%M:%S").to_string(),
        datetime: event.at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        symbol,
        tone: if tone == "accent" { "" } else { tone },
        verb,
        rest: format!("{rest}{name}"),
        more: words.more,
        key: if is_key { event.target_name.clone() } else { String::new() },
        key_url: if is_key { known.get(&event.target_id).cloned().unwrap_or_default() } else { String::new() },
        by: by_whom(event),
        ip: event.ip.clone(),
        url: format!("{base}/{}", line.number),
    }
}

/// A key that is searched for.
struct Chip {
    name: String,
    without: String,
}

#[derive(Template)]
#[template(path = "events/list.html")]
struct EventsPage {
    frame: Frame,
    form: Form,
    base: String,
    export: String,
    rows: Vec<Row>,
    chips: Vec<Chip>,
    more_chips: usize,
    too_many: bool,
    without_keys: String,
    find: String,
    hidden: Vec<(&'static str, String)>,
    members: MemberFilter,
    /// Noun, its name, and each action with its words; the flags say what is chosen.
    actions: Vec<(&'static str, &'static str, bool, Vec<(&'static str, String, bool)>)>,
    newer: String,
    older: String,
    filtered: bool,
    all: bool,
}

struct Found {
    lines: Vec<Line>,
    has_newer: bool,
    has_older: bool,
    too_many: bool,
    /// The keys that are searched for, by ID and name.
    searched: Vec<(KeyId, String)>,
    /// The address of the page of each key that still is.
    known: HashMap<String, String>,
}

fn read(db: &mut Db, acting: &Acting, reach: &Reach, asked: &EventsQuery, now: Time) -> Result<Found, StoreError> {
    let sight = Sight::of(db, acting)?;
    let (filter, too_many) = asked.filter(db, acting, reach, now)?;
    let mut lines = events::page(db, &sight, &filter, asked.place, PAGE + 1)?;
    let has_more = lines.len() > PAGE;
    let forward = !matches!(asked.place, Some(Place::Newer(_)));
    if has_more {
        if forward { lines.truncate(PAGE) } else { drop(lines.drain(..lines.len() - PAGE)) }
    }
    let (has_newer, has_older) = if forward { (asked.place.is_some(), has_more) } else { (has_more, true) };
    let mut ids: Vec<KeyId> =
        lines.iter().filter(|line| line.event.target_kind == "key").filter_map(|line| KeyId::parse(&line.event.target_id)).collect();
    let searched = filter.keys.unwrap_or_default();
    ids.extend(searched.iter().take(CHIPS));
    ids.sort_unstable();
    ids.dedup();
    let found: HashMap<KeyId, String> = keys::find_many(db, reach, &ids)?.into_iter().map(|key| (key.id, key.name.to_string())).collect();
    let known = found.keys().map(|id| (id.to_string(), format!("/t/{}/keys/{id}", acting.tenant.slug))).collect();
    let searched = searched.into_iter().map(|id| (id, found.get(&id).cloned().unwrap_or_else(|| id.to_string()))).collect();
    Ok(Found { lines, has_newer, has_older, too_many, searched, known })
}

/// The filter of members.
const MEMBER: &str = "member";

async fn members(member: &Member, form: &Form) -> Result<MemberFilter, WebError> {
    picker::filter(member, form, MEMBER, ["Member", "Anybody", "Find a member"], &member.url("/events")).await
}

/// `GET /t/{tenant}/events`
pub async fn list(member: Member, req: HttpRequest) -> WebResult {
    let mut form = Form::from_query(&req)?;
    let seeks = picker::seeks(&member, &req, MEMBER);
    let members = if member.may(Permission::EventsRead) { members(&member, &form).await? } else { MemberFilter::default() };
    if seeks {
        return Ok(html(StatusCode::OK, members.as_options().render()?));
    }
    let asked = EventsQuery::read(&mut form);
    let (acting, now, query) = (member.acting.clone(), member.by().now, asked.clone());
    let found: Result<_, StoreError> = member.read(move |db, reach| read(db, &acting, reach, &query, now)).await;
    let found = found?;
    let base = member.url("/events");
    let at = |query: &EventsQuery, place| format!("{base}{}", query.to_query(place));
    let newer = found.lines.first().filter(|_| found.has_newer).map(|line| at(&asked, Some(Place::Newer(line.number)))).unwrap_or_default();
    let older = found.lines.last().filter(|_| found.has_older).map(|line| at(&asked, Some(Place::Older(line.number)))).unwrap_or_default();
    let chip = |(id, name): &(KeyId, String)| Chip {
        name: name.clone(),
        without: at(&EventsQuery { keys: asked.keys.iter().copied().filter(|key| key != id).collect(), ..asked.clone() }, None),
    };
    let chips: Vec<Chip> = if asked.all.is_some() { Vec::new() } else { found.searched.iter().take(CHIPS).map(chip).collect() };
    let actions = NOUNS.iter().filter_map(|(noun_word, label)| {
        let of: Vec<_> = Action::ALL.iter().filter(|action| noun(**action) == *noun_word).collect();
        let words = of.into_iter().map(|action| (action.word(), action.sentence().to_owned(), asked.action == action.word())).collect::<Vec<_>>();
        (!words.is_empty()).then(|| (*noun_word, *label, asked.action == *noun_word, words))
    });
    let page = EventsPage {
        frame: member.frame.clone(),
        export: asked.to_query(None),
        rows: found.lines.iter().map(|line| row(line, &base, &found.known, now)).collect(),
        more_chips: if asked.all.is_some() { found.searched.len() } else { found.searched.len().saturating_sub(CHIPS) },
        chips,
        too_many: found.too_many,
        without_keys: at(&EventsQuery { keys: Vec::new(), all: None, find: String::new(), ..asked.clone() }, None),
        find: asked.find.clone(),
        hidden: EventsQuery { keys: asked.keys.clone(), all: asked.all.clone(), ..EventsQuery::default() }.fields(None),
        members,
        actions: actions.collect(),
        newer,
        older,
        filtered: asked.is_set(),
        all: member.may(Permission::EventsRead),
        base,
        form,
    };
    show_as(status_of(&page.form), &page)
}

#[derive(Template)]
#[template(path = "events/one.html")]
struct EventPage {
    frame: Frame,
    crumbs: Vec<Link>,
    title: String,
    facts: Vec<(&'static str, String)>,
    changes: Vec<(String, String, String)>,
    back: String,
}

/// The same in a dialog.
#[derive(Template)]
#[template(path = "events/dialog.html")]
struct EventDialog<'a> {
    title: &'a str,
    facts: &'a [(&'static str, String)],
    changes: &'a [(String, String, String)],
}

/// A value of a change as people read it.
fn worded(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "–".into(),
        serde_json::Value::Bool(on) => if *on { "yes" } else { "no" }.into(),
        serde_json::Value::String(text) => text.parse::<Time>().map_or_else(|_| text.clone(), date_time),
        serde_json::Value::Array(list) if list.is_empty() => "none".into(),
        serde_json::Value::Array(list) => list.iter().map(worded).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn changes(details: &serde_json::Value) -> Vec<(String, String, String)> {
    let Some(fields) = details.as_object() else { return Vec::new() };
    let words = |name: &str| {
        let text = name.replace('_', " ");
        let mut chars = text.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    let change = |(name, value): (&String, &serde_json::Value)| match (value.get("from"), value.get("to")) {
        (None, None) => (words(name), String::new(), worded(value)),
        (from, to) => (words(name), from.map(worded).unwrap_or_default(), to.map(worded).unwrap_or_default()),
    };
    fields.iter().map(change).collect()
}

/// `GET /t/{tenant}/events/{number}`
pub async fn one(member: Member, path: Path<(String, i64)>) -> WebResult {
    let (acting, number) = (member.acting.clone(), path.1);
    let found: Result<_, StoreError> = member
        .read(move |db, _| {
            let sight = Sight::of(db, &acting)?;
            events::one(db, &sight, number)
        })
        .await;
    let line = found?.ok_or(WebError::NotFound)?;
    let event = &line.event;
    let mut facts = vec![("Time", format!("{}, {} UTC", event.at.format("%-d %b %Y"), event.at.format("%H:%M:%S"))), ("By", by_whom(event))];
    if !event.target_name.is_empty() || !event.target_id.is_empty() {
        let id = if event.target_id.is_empty() || event.target_id == event.target_name { String::new() } else { format!(" ({})", event.target_id) };
        let label = match event.target_kind.as_str() {
            "key" => "Key",
            "member" => "Member",
            "account" => "Account",
            "tenant" => "Tenant",
            "gateway" => "Gateway credential",
            _ => "On",
        };
        facts.push((label, format!("{}{id}", event.target_name)));
    }
    facts.push(("IP address", if event.ip.is_empty() { "–".into() } else { event.ip.clone() }));
    facts.push(("User agent", if event.user_agent.is_empty() { "–".into() } else { event.user_agent.clone() }));
    facts.push(("Event", format!("No. {} of this tenant, {}", line.number, event.action.word())));
    let page = EventPage {
        frame: member.frame.clone(),
        crumbs: vec![Link::new("Events", member.url("/events"))],
        title: format!("{} {}", by_whom(event), event.action.sentence()),
        facts,
        changes: changes(&event.details),
        back: member.url("/events"),
    };
    if member.frame.fragment {
        let dialog = EventDialog { title: &page.title, facts: &page.facts, changes: &page.changes };
        return Ok(html(StatusCode::OK, dialog.render()?));
    }
    show(&page)
}
