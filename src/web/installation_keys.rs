//! The keys of all tenants, for the installation owner: the grid, one key with its events, revoke and delete.

use std::collections::HashMap;

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
    web::Path,
};
use askama::Template;

use super::{
    chart::{self, Chart},
    error::WebError,
    form::Form,
    key_activity::{self, Line},
    key_facts::{Used, expiry_words, lifetime_words, used_words, why},
    key_view::{self, KeyView, MenuItem, StatusView, number},
    keys_query::{KeysQuery, query},
    page::{Frame, Link, Question, WebResult, ask_as, done, html, show, status_of},
    session::Owner,
};
use crate::{
    actions::{
        installation::{delete_key, revoke_key},
        keys::KeyError,
    },
    domain::{
        access::{KeyAccess, ResourceSet},
        change,
        ids::{AccessRoleId, KeyId, MemberId, TenantId},
        key::Key,
        names::{self, EmailAddress, Scope},
        time::{Time, date_time},
    },
    store::{
        Db, StoreError, access, events,
        grid::{self, Count, Filter, Tab},
        installation::{self as store, InstallationReach},
        keys as rows,
        members::{self, Owner as Holder},
        tenants::Tenant,
    },
};

/// How many rows a page has.
const PAGE: usize = 50;
/// How many events are listed.
const MOST_EVENTS: i64 = 50;
/// The grid.
const LIST: &str = "/installation/keys";
/// Its columns.
const COLUMNS: [&str; 7] = ["tenant", "status", "owner", "access", "expires", "used", "usage"];

struct TabLink {
    label: &'static str,
    url: String,
    count: Count,
    current: bool,
    warn: bool,
}

#[derive(Template)]
#[template(path = "installation/keys.html", blocks = ["tabs", "grid"])]
struct KeysPage {
    frame: Frame,
    text: String,
    status: String,
    tabs: Vec<TabLink>,
    /// Address, name, and whether it is chosen.
    tenants: Vec<(String, String, bool)>,
    rows: Vec<KeyView>,
    cols: Vec<&'static str>,
    shown: Count,
    filtered: bool,
    range: String,
    previous: String,
    next: String,
    fragment: bool,
}

fn key_url(key: &Key) -> String {
    format!("{LIST}/{}", key.id)
}

fn menu(key: &Key) -> Vec<Vec<MenuItem>> {
    let url = key_url(key);
    let look = MenuItem { symbol: "file-text", label: "View details", url: url.clone(), dialog: false, posts: false, danger: false };
    let logs = MenuItem { symbol: "scroll-text", label: "Search in logs", url: format!("{url}#activity"), ..look.clone() };
    let mut stop = Vec::new();
    if key.life.revoked_at.is_none() {
        stop.push(MenuItem { symbol: "ban", label: "Revoke…", url: format!("{url}/revoke"), dialog: true, danger: true, posts: false });
    }
    stop.push(MenuItem { symbol: "trash-2", label: "Delete…", url: format!("{url}/delete"), dialog: true, danger: true, posts: false });
    vec![vec![look, logs], stop]
}

/// The keys, worded: what belongs to them is read for each tenant at once.
fn views(db: &mut Db, tenants: &[Tenant], keys: &[Key], now: Time) -> Result<Vec<KeyView>, StoreError> {
    let mut of: HashMap<TenantId, Vec<&Key>> = HashMap::new();
    for key in keys {
        of.entry(key.tenant).or_default().push(key);
    }
    let mut worded: HashMap<KeyId, KeyView> = HashMap::new();
    for tenant in tenants {
        let Some(keys) = of.get(&tenant.id) else { continue };
        let mut ids: Vec<MemberId> = keys.iter().map(|key| key.owner).collect();
        ids.sort_unstable();
        ids.dedup();
        let owners: HashMap<MemberId, Holder> = members::find_many(db, tenant.id, &ids)?.into_iter().map(|owner| (owner.id, owner)).collect();
        let roles: HashMap<AccessRoleId, String> = access::roles(db, tenant.id)?.into_iter().map(|role| (role.id, role.name)).collect();
        let months = grid::usage(db, tenant.id, &keys.iter().map(|key| key.id).collect::<Vec<_>>(), now)?;
        for key in keys {
            let view = KeyView::of(key, owners.get(&key.owner), &roles, months.get(&key.id), tenant, None, (key_url(key), menu(key)), now);
            worded.insert(key.id, view);
        }
    }
    Ok(keys.iter().filter_map(|key| worded.remove(&key.id)).collect())
}

struct Found {
    tenants: Vec<Tenant>,
    page: store::KeysPage,
    rows: Vec<KeyView>,
}

fn read(db: &mut Db, reach: &InstallationReach, slug: &str, asked: &KeysQuery, now: Time) -> Result<Found, StoreError> {
    let tenants = store::with_keys(db, reach)?;
    let chosen: Vec<Tenant> = tenants.iter().filter(|tenant| slug.is_empty() || tenant.slug == slug).cloned().collect();
    let filter = Filter { text: asked.filter.text.clone(), used: asked.filter.used, tab: asked.filter.tab, ..Filter::default() };
    let page = store::keys(db, reach, &chosen, &filter, asked.at.as_ref(), PAGE, now)?;
    let rows = views(db, &chosen, &page.keys, now)?;
    Ok(Found { tenants, page, rows })
}

/// `GET /installation/keys`
pub async fn list(owner: Owner, req: HttpRequest) -> WebResult {
    let form = Form::from_query(&req)?;
    let asked = KeysQuery::read(&form);
    let slug: String = form.text("tenant").chars().take(40).collect();
    let (now, slug_asked, query_asked) = (owner.by().now, slug.clone(), asked.clone());
    let found: Result<_, StoreError> = owner.read(move |db, reach| read(db, reach, &slug_asked, &query_asked, now)).await;
    let Found { tenants, page, rows } = found?;
    let at = |tab: Tab, place: Option<grid::Cursor>| {
        let status = Tab::ALL.iter().find(|(t, ..)| *t == tab).map_or("", |(_, word, _)| word);
        let place = place.map(|place| place.to_string()).unwrap_or_default();
        let fields = [("q", asked.filter.text.clone()), ("tenant", slug.clone()), ("status", status.to_owned()), ("at", place)];
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        format!("{LIST}{}", query(&fields))
    };
    let tab = asked.filter.tab;
    let tabs = Tab::ALL.iter().zip(page.counts).map(|((of, _, label), count)| TabLink {
        label,
        url: at(*of, None),
        count,
        current: *of == tab,
        warn: *of == Tab::ExpiringSoon && count.number > 0,
    });
    let shown = Tab::ALL.iter().position(|(of, ..)| *of == tab).map_or_else(Count::default, |at| page.counts[at]);
    let place = |cursor: Option<grid::Cursor>| cursor.map(|cursor| at(tab, Some(cursor))).unwrap_or_default();
    let fragment = owner.frame.fragment && req.headers().get("hx-target").is_some_and(|target| target == "grid");
    let page = KeysPage {
        frame: owner.frame.clone(),
        text: asked.filter.text.clone(),
        status: Tab::ALL.iter().find(|(of, ..)| *of == tab).map_or("", |(_, word, _)| word).to_owned(),
        tabs: tabs.collect(),
        tenants: tenants.into_iter().map(|tenant| (tenant.slug.clone(), tenant.name, tenant.slug == slug)).collect(),
        range: if rows.is_empty() { String::new() } else { format!("{}–{} of {shown}", page.before + 1, page.before + rows.len() as u64) },
        previous: place(page.previous.clone()),
        next: place(page.next.clone()),
        filtered: !asked.filter.text.is_empty() || !slug.is_empty() || tab != Tab::All,
        rows,
        cols: COLUMNS.to_vec(),
        shown,
        fragment,
    };
    if !fragment {
        return show(&page);
    }
    let mut answer = html(StatusCode::OK, format!("{}{}", page.as_grid().render()?, page.as_tabs().render()?));
    if let Ok(value) = header::HeaderValue::from_str(&at(tab, asked.at.clone())) {
        answer.headers_mut().insert(header::HeaderName::from_static("hx-push-url"), value);
    }
    Ok(answer)
}

/// A key of any tenant, with what its pages tell of it.
struct Facts {
    key: Key,
    tenant: Tenant,
    owner: Holder,
    role: Option<String>,
}

async fn find(owner: &Owner, id: &str) -> Result<Facts, WebError> {
    let id = KeyId::parse(id).ok_or(WebError::NotFound)?;
    let found: Result<_, StoreError> = owner
        .read(move |db, reach| {
            let Some((tenant, key)) = store::find_key(db, reach, id)? else { return Ok(None) };
            let Some(owner) = members::find(db, tenant.id, key.owner)? else { return Ok(None) };
            let role = match key.access {
                KeyAccess::Role(role) => access::role(db, tenant.id, role)?.map(|role| role.name),
                _ => None,
            };
            Ok(Some(Facts { key, tenant, owner, role }))
        })
        .await;
    found?.ok_or(WebError::NotFound)
}

#[derive(Template)]
#[template(path = "installation/key.html")]
struct KeyPage {
    frame: Frame,
    crumbs: Vec<Link>,
    id: String,
    name: String,
    url: String,
    tenant: String,
    status: StatusView,
    may_revoke: bool,
    notice: String,
    chart: Chart,
    used: Used,
    activity: Vec<Line>,
    details: Vec<(&'static str, Vec<String>, bool)>,
}

fn details(facts: &Facts, now: Time) -> Vec<(&'static str, Vec<String>, bool)> {
    let Facts { key, tenant, owner, role } = facts;
    let one = |text: String| vec![text];
    let access = match &key.access {
        KeyAccess::Owner => "Same as owner".into(),
        KeyAccess::Role(_) => role.clone().unwrap_or_else(|| "An access role that is gone".into()),
        KeyAccess::Scopes(scopes) if scopes.is_empty() => "No scope".into(),
        KeyAccess::Scopes(scopes) => scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", "),
    };
    let resources = match &key.resources {
        ResourceSet::All => one("All of the owner’s".into()),
        ResourceSet::Chosen(patterns) if patterns.is_empty() => one("None".into()),
        ResourceSet::Chosen(patterns) => patterns.iter().map(ToString::to_string).collect(),
    };
    let ranges = if key.ip_ranges.is_empty() { one("Any address".into()) } else { key.ip_ranges.texts() };
    let mut notices = vec!["Owner".to_owned()];
    notices.extend(key.notice_recipients.iter().map(EmailAddress::to_string));
    let mut list = vec![
        ("Tenant", vec![tenant.name.clone(), format!("/t/{}", tenant.slug)], false),
        (
            "Owner",
            vec![if owner.is_service() { format!("{} (service account)", owner.name) } else { owner.name.clone() }, owner.email.clone()],
            false,
        ),
        ("Access", one(access), false),
        ("Resources", resources, false),
        ("IP ranges", ranges, !key.ip_ranges.is_empty()),
        ("Created", one(date_time(key.created_at)), false),
        ("Last changed", one(date_time(key.changed_at)), false),
        ("Expires", one(expiry_words(key.life.expires_at, &tenant.grace, now)), false),
        (
            "Lifetime",
            one(key.lifetime.map_or_else(|| "Never expires".into(), |length| format!("{}, as first set", lifetime_words(Some(length))))),
            false,
        ),
        ("Secret made", one(format!("{} by {}", date_time(key.current.made_at), key.current.made_by)), false),
    ];
    if let Some(old) = key.overlap(now) {
        list.push(("Old secret", one(format!("Works until {}", date_time(old.stops_at))), false));
    }
    list.push(("Notices to", notices, false));
    if !key.comment.is_empty() {
        list.push(("Comment", key.comment.lines().map(str::to_owned).collect(), false));
    }
    list
}

fn notice(facts: &Facts) -> String {
    let key = &facts.key;
    let by = |actor: Option<&crate::domain::key::Actor>| actor.map(|actor| format!(" by {}", actor.name)).unwrap_or_default();
    match (key.life.revoked_at, key.life.disabled_at) {
        (Some(at), _) => format!("Revoked on {}{}. It is refused for good.{}", date_time(at), by(key.revoked_by.as_ref()), why(&key.revoke_reason)),
        (None, Some(at)) => {
            format!("Disabled on {}{}. Only its tenant can enable it.{}", date_time(at), by(key.disabled_by.as_ref()), why(&key.disable_reason))
        }
        _ if facts.tenant.suspended_at.is_some() => format!("{} is suspended, so this key is refused.", facts.tenant.name),
        _ if !facts.tenant.settings.keys_enabled => format!("API keys are turned off for {}, so this key is refused.", facts.tenant.name),
        _ => String::new(),
    }
}

/// `GET /installation/keys/{id}`
pub async fn page(owner: Owner, id: Path<String>) -> WebResult {
    let facts = find(&owner, &id).await?;
    let now = owner.by().now;
    let (tenant, key) = (facts.tenant.id, facts.key.id);
    let told: Result<_, StoreError> =
        owner.read(move |db, _| Ok((rows::usage_since(db, tenant, key, chart::from(now))?, events::of_key(db, tenant, key, MOST_EVENTS)?))).await;
    let (hours, told) = told?;
    let key = &facts.key;
    let rolled_at = (key.current.made_at != key.created_at).then_some(key.current.made_at);
    show(&KeyPage {
        frame: owner.frame.clone(),
        crumbs: vec![Link::new("Keys of all tenants", LIST)],
        id: key.id.to_string(),
        name: key.name.to_string(),
        url: key_url(key),
        tenant: facts.tenant.name.clone(),
        status: key_view::status(&key.life, &facts.tenant, facts.owner.is_active(), now),
        may_revoke: key.life.revoked_at.is_none(),
        notice: notice(&facts),
        chart: chart::draw(&hours, rolled_at, now),
        used: used_words(key.last_used.as_ref(), now),
        activity: told.iter().map(|event| key_activity::line(event, now)).collect(),
        details: details(&facts, now),
    })
}

#[derive(Template)]
#[template(path = "keys/ask/revoke.html")]
struct RevokeBody<'a> {
    form: &'a Form,
    requests: String,
    used: Used,
}

#[derive(Template)]
#[template(path = "keys/ask/delete.html")]
struct DeleteBody<'a> {
    form: &'a Form,
    changed: bool,
    active: bool,
    id: &'a str,
}

/// What can be done to a key here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Revoke,
    Delete,
}

async fn question(owner: &Owner, verb: Verb, facts: &Facts, form: &Form, changed: bool) -> WebResult {
    let key = &facts.key;
    let (word, path) = if verb == Verb::Revoke { ("Revoke", "revoke") } else { ("Delete", "delete") };
    let question = Question {
        asks: format!("{word} “{}” of {}?", key.name, facts.tenant.name),
        action: format!("{}/{path}", key_url(key)),
        submit: format!("{word} key"),
        danger: true,
        cancel: key_url(key),
        crumbs: vec![Link::new("Keys of all tenants", LIST), Link::new(key.name.as_str(), key_url(key))],
        wide: false,
    };
    let status = if changed { StatusCode::CONFLICT } else { status_of(form) };
    if verb == Verb::Delete {
        let body = DeleteBody { form, changed, active: key.life.revoked_at.is_none(), id: key.id.as_str() };
        return ask_as(status, &owner.frame, &question, form, &body);
    }
    let (tenant, id, now) = (key.tenant, key.id, owner.by().now);
    let hours: Result<Vec<_>, StoreError> = owner.read(move |db, _| rows::usage_since(db, tenant, id, chart::from(now))).await;
    let requests: i64 = hours?.into_iter().map(|(_, accepted, refused)| accepted + refused).sum();
    let requests = if requests > 0 { number(requests) } else { String::new() };
    ask_as(status, &owner.frame, &question, form, &RevokeBody { form, requests, used: used_words(key.last_used.as_ref(), now) })
}

async fn ask(owner: Owner, id: Path<String>, verb: Verb) -> WebResult {
    let facts = find(&owner, &id).await?;
    if verb == Verb::Revoke {
        change::may_change(&facts.key).map_err(|refused| failed(refused.into()))?;
    }
    let form = Form::filled([("seen", facts.key.version.to_string())]);
    question(&owner, verb, &facts, &form, false).await
}

fn failed(error: KeyError) -> WebError {
    match error {
        KeyError::NoSuchKey | KeyError::NotAllowed => WebError::NotFound,
        KeyError::Store(error) => error.into(),
        other => WebError::BadRequest(format!("{other} Nothing was changed.")),
    }
}

/// The grid, with its filter, that htmx asks from; else `otherwise`.
fn back(owner: &Owner, req: &HttpRequest, otherwise: String) -> String {
    let current = req.headers().get("hx-current-url").and_then(|url| url.to_str().ok());
    let path = current.and_then(|url| url.strip_prefix(&owner.site.origin())).filter(|path| path.split(['?', '#']).next() == Some(LIST));
    path.and_then(|path| path.split('#').next()).map_or(otherwise, str::to_owned)
}

async fn act(owner: Owner, req: HttpRequest, id: Path<String>, mut form: Form, verb: Verb) -> WebResult {
    form.only(if verb == Verb::Revoke { &["reason"] } else { &["seen", "confirm"] })?;
    let facts = find(&owner, &id).await?;
    let reason = form.parse("reason", names::reason).unwrap_or_default();
    if verb == Verb::Delete && !form.text("confirm").trim().eq_ignore_ascii_case("delete") {
        form.wrong("confirm", "Type delete to confirm.");
    }
    if form.has_errors() {
        return question(&owner, verb, &facts, &form, false).await;
    }
    let (key, version) = (facts.key.id, form.text("seen").parse().unwrap_or(0));
    let result = owner
        .write(move |tx, by| match verb {
            Verb::Revoke => revoke_key(tx, by, key, &reason),
            Verb::Delete => delete_key(tx, by, key, version),
        })
        .await;
    match result {
        Ok(key) if verb == Verb::Delete => done(&owner.site, &owner.frame, &format!("“{}” deleted.", key.name), &back(&owner, &req, LIST.into())),
        Ok(key) => done(&owner.site, &owner.frame, "Key revoked.", &back(&owner, &req, key_url(&key))),
        Err(KeyError::Changed) => {
            let facts = find(&owner, &id).await?;
            form.set("seen", facts.key.version.to_string());
            question(&owner, verb, &facts, &form, true).await
        }
        Err(error) => Err(failed(error)),
    }
}

/// `GET /installation/keys/{id}/revoke`
pub async fn ask_revoke(owner: Owner, id: Path<String>) -> WebResult {
    ask(owner, id, Verb::Revoke).await
}

/// `POST /installation/keys/{id}/revoke`
pub async fn revoke(owner: Owner, req: HttpRequest, id: Path<String>, form: Form) -> WebResult {
    act(owner, req, id, form, Verb::Revoke).await
}

/// `GET /installation/keys/{id}/delete`
pub async fn ask_delete(owner: Owner, id: Path<String>) -> WebResult {
    ask(owner, id, Verb::Delete).await
}

/// `POST /installation/keys/{id}/delete`
pub async fn delete(owner: Owner, req: HttpRequest, id: Path<String>, form: Form) -> WebResult {
    act(owner, req, id, form, Verb::Delete).await
}
