//! The key grid: the page, its fragment for htmx, and the columns that a member chose.

use std::collections::HashMap;

use actix_web::{
    HttpRequest,
    http::{StatusCode, header},
};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_facts::{self, Allowed},
    key_view::KeyView,
    keys_query::KeysQuery,
    page::{Frame, WebResult, html, see_other, show},
    picker::{self, MemberFilter},
    session::Member,
};
use crate::{
    domain::{
        ids::{AccessRoleId, MemberId},
        key::Key,
        permission::{Permission, Permissions},
        time::Time,
    },
    store::{
        Db, StoreError, access,
        grid::{self, Count, Order, Page, Sort, Tab, View},
        keys,
        members::{self, Acting, Owner, Reach},
    },
};

/// How many rows a page has.
const PAGE: usize = 50;

/// The columns that can be hidden: word, heading, whether shown by default.
const COLUMNS: [(&str, &str, bool); 10] = [
    ("status", "Status", true),
    ("owner", "Owner", true),
    ("access", "Access and IP ranges", true),
    ("resources", "Resources", false),
    ("created", "Created", true),
    ("changed", "Last changed", false),
    ("expires", "Expires", true),
    ("used", "Last used", true),
    ("usage", "Last 30 days", true),
    ("comment", "Comment", true),
];

/// What the member chose is stored as words; `none` where every column is hidden.
fn columns(chosen: &str) -> Vec<&'static str> {
    let is_shown = |word: &str, default: bool| if chosen.is_empty() { default } else { chosen.split(' ').any(|c| c == word) };
    COLUMNS.iter().filter(|(word, _, default)| is_shown(word, *default)).map(|(word, ..)| *word).collect()
}

/// A status tab.
struct TabLink {
    label: &'static str,
    url: String,
    count: Count,
    current: bool,
    warn: bool,
}

/// A heading, with what sorting by it does.
struct Heading {
    label: &'static str,
    word: &'static str,
    /// Empty where it cannot be sorted.
    url: String,
    /// `ascending`, `descending` or nothing.
    sorted: &'static str,
}

/// An option of a select.
struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "keys/list.html", blocks = ["summary", "tabs", "grid"])]
struct KeysPage {
    frame: Frame,
    base: String,
    settings_url: String,
    events_url: String,
    tenant: String,
    query: KeysQuery,
    tabs: Vec<TabLink>,
    headings: Vec<Heading>,
    rows: Vec<KeyView>,
    cols: Vec<&'static str>,
    columns: Vec<(&'static str, &'static str, bool)>,
    owners: MemberFilter,
    access: Vec<Choice>,
    used: Vec<Choice>,
    total: Count,
    active: Count,
    shown: Count,
    range: String,
    previous: String,
    next: String,
    sortable: bool,
    keys_off: bool,
    may_settings: bool,
    may_create: bool,
    may_enable: bool,
    may_stop: bool,
    may_delete: bool,
    limit: Option<(i64, i64)>,
    fragment: bool,
}

impl KeysPage {
    fn is_empty_tenant(&self) -> bool {
        self.total.is_none() && !self.query.filter.is_set() && self.query.filter.tab == Tab::All
    }

    fn fragments(&self) -> Result<String, askama::Error> {
        Ok(format!("{}{}{}", self.as_grid().render()?, self.as_tabs().render()?, self.as_summary().render()?))
    }

    fn plural(&self) -> &'static str {
        if self.shown.number == 1 && !self.shown.or_more { "key" } else { "keys" }
    }
}

/// What a page of keys is made of.
pub(super) struct Rows {
    /// The page of the grid.
    pub page: Page,
    /// The keys, worded.
    pub rows: Vec<KeyView>,
    /// The access roles of the tenant by name.
    pub roles: Vec<(AccessRoleId, String)>,
}

/// One page of keys as `acting` sees them.
pub(super) fn rows(
    db: &mut Db,
    acting: &Acting,
    reach: &Reach,
    query: &KeysQuery,
    size: usize,
    with_usage: bool,
    now: Time,
) -> Result<Rows, StoreError> {
    let view = View { reach, filter: &query.filter, now, soon: acting.tenant.settings.expiring_soon() };
    let page = grid::page(db, &view, query.order, query.at.as_ref(), size)?;
    let (rows, roles) = views(db, acting, &page.keys, with_usage, now)?;
    Ok(Rows { page, rows, roles })
}

/// Keys, worded for `acting`.
pub(super) fn views(
    db: &mut Db,
    acting: &Acting,
    keys: &[Key],
    with_usage: bool,
    now: Time,
) -> Result<(Vec<KeyView>, Vec<(AccessRoleId, String)>), StoreError> {
    let tenant = acting.tenant.id;
    let mut ids: Vec<MemberId> = keys.iter().map(|key| key.owner).collect();
    ids.sort_unstable();
    ids.dedup();
    let owners: HashMap<MemberId, Owner> = members::find_many(db, tenant, &ids)?.into_iter().map(|owner| (owner.id, owner)).collect();
    let roles: Vec<(AccessRoleId, String)> = access::roles(db, tenant)?.into_iter().map(|role| (role.id, role.name)).collect();
    let names: HashMap<AccessRoleId, String> = roles.iter().cloned().collect();
    let months = if with_usage { grid::usage(db, tenant, &keys.iter().map(|key| key.id).collect::<Vec<_>>(), now)? } else { HashMap::new() };
    let permissions = key_facts::owners_permissions(db, &acting.tenant, keys)?;
    let allowed = |key: &Key| Allowed::of(key, permissions.get(&key.owner).copied().unwrap_or(Permissions::NONE), acting, now);
    let rows = keys.iter().map(|key| KeyView::new(key, owners.get(&key.owner), &names, months.get(&key.id), (acting, allowed(key)), now)).collect();
    Ok((rows, roles))
}

/// Where a member without the grid is led: their own keys.
pub(super) fn own_keys_url(acting: &Acting) -> String {
    format!("/profile?tenant={}", acting.tenant.slug)
}

/// The filter of owners.
const OWNER: &str = "owner";

async fn owners(member: &Member, form: &Form) -> Result<MemberFilter, WebError> {
    picker::filter(member, form, OWNER, ["Owner", "Any owner", "Find an owner"], &member.url("/keys")).await
}

/// The grid.
///
/// # Errors
/// See [`WebError`].
pub async fn list(member: Member, req: HttpRequest) -> WebResult {
    if !member.may(Permission::KeysReadAny) {
        return Ok(see_other(&member.frame, &own_keys_url(&member.acting)));
    }
    let form = Form::from_query(&req)?;
    let query = KeysQuery::read(&form);
    if picker::seeks(&member, &req, OWNER) {
        return Ok(html(StatusCode::OK, owners(&member, &form).await?.as_options().render()?));
    }
    let fragment = member.frame.fragment && req.headers().get("hx-target").is_some_and(|target| target == "grid");
    if !fragment && form.text("q").contains("kwk_") && form.text("q") != query.filter.text {
        // A token that was pasted leaves the address again.
        return Ok(see_other(&member.frame, &format!("{}{}", member.url("/keys"), query.to_query())));
    }
    let page = KeysPage { owners: owners(&member, &form).await?, ..look(&member, query, fragment).await? };
    if !fragment {
        return show(&page);
    }
    let url = format!("{}{}", page.base, page.query.to_query());
    let mut answer = html(StatusCode::OK, page.fragments()?);
    if let Ok(value) = header::HeaderValue::from_str(&url) {
        answer.headers_mut().insert(header::HeaderName::from_static("hx-push-url"), value);
    }
    Ok(answer)
}

/// The grid as it is now, with tabs and count to swap in beside it; `query` is that of the page's address.
///
/// # Errors
/// See [`WebError`].
pub(super) async fn fragments(member: &Member, query: &str) -> Result<String, WebError> {
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let query = KeysQuery::read(&Form::filled(fields.iter().map(|(name, value)| (name.as_str(), value.clone()))));
    Ok(look(member, query, true).await?.fragments()?)
}

async fn look(member: &Member, query: KeysQuery, fragment: bool) -> Result<KeysPage, WebError> {
    let cols = columns(&member.acting.grid_columns);
    let (acting, now, asked) = (member.acting.clone(), member.site.clock.now(), query.clone());
    let with_usage = cols.contains(&"usage");
    let (rows, mine): (Rows, i64) = member
        .read(move |db, reach| {
            let rows = rows(db, &acting, reach, &asked, PAGE, with_usage, now)?;
            let mine = keys::count_for_limit(db, acting.tenant.id, acting.id)?;
            Ok::<_, StoreError>((rows, mine))
        })
        .await?;
    Ok(page_of(member, query, cols, rows, mine, fragment))
}

fn page_of(member: &Member, asked: KeysQuery, cols: Vec<&'static str>, found: Rows, mine: i64, fragment: bool) -> KeysPage {
    let Rows { page, rows, roles } = found;
    let (acting, settings) = (&member.acting, &member.acting.tenant.settings);
    let base = member.url("/keys");
    let query = KeysQuery { order: page.order, ..asked };
    let at = |query: &KeysQuery| format!("{base}{}", query.to_query());
    let tabs = Tab::ALL
        .iter()
        .zip(page.counts)
        .map(|((tab, _, label), count)| TabLink {
            label,
            url: at(&query.with_tab(*tab)),
            count,
            current: *tab == query.filter.tab,
            warn: *tab == Tab::ExpiringSoon && count.number > 0,
        })
        .collect();
    let count_of = |tab: Tab| Tab::ALL.iter().position(|(t, ..)| *t == tab).map_or_else(Count::default, |at| page.counts[at]);
    let heading = |word: &'static str, label: &'static str, sort: Option<Sort>| {
        let Some(sort) = sort else { return Heading { label, word, url: String::new(), sorted: "" } };
        let is_current = query.order.sort == sort;
        // Times begin with the newest, names with A; a second click turns round.
        let starts_down = !matches!(sort, Sort::Name | Sort::Owner | Sort::Expires);
        let descending = if is_current { !query.order.descending } else { starts_down };
        let sorted = match (is_current, query.order.descending) {
            (false, _) => "",
            (true, true) => "descending",
            (true, false) => "ascending",
        };
        let offered = page.sortable || sort == Sort::Created;
        Heading { label, word, url: if offered { at(&query.with_order(Order { sort, descending })) } else { String::new() }, sorted }
    };
    let mut headings = vec![heading("name", "Name and ID", Some(Sort::Name))];
    headings.extend(COLUMNS.iter().filter(|(word, ..)| cols.contains(word)).map(|(word, label, _)| {
        let sort = Sort::ALL.iter().find(|(_, w)| w == word).map(|(sort, _)| *sort);
        heading(word, label, sort)
    }));
    let option = |value: &str, label: &str, chosen: bool| Choice { value: value.into(), label: label.into(), chosen };
    let fields = query.filter_fields();
    let value = |name: &str| fields.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value.as_str());
    let mut access_options = vec![
        option("", "Any access", value("access").is_empty()),
        option("owner", "Same as owner", value("access") == "owner"),
        option("scopes", "Chosen scopes", value("access") == "scopes"),
    ];
    access_options.extend(roles.iter().map(|(id, name)| option(&id.to_string(), name, value("access") == id.to_string())));
    let used = [("", "Used at any time"), ("30", "Not used for 30 days"), ("never", "Never used")];
    let used = used.into_iter().map(|(word, label)| option(word, label, value("used") == word)).collect();
    let shown = count_of(query.filter.tab);
    let range = if rows.is_empty() { String::new() } else { format!("{}–{} of {shown}", page.before + 1, page.before + rows.len() as u64) };
    let place = |cursor: Option<grid::Cursor>| cursor.map(|cursor| at(&query.with_place(Some(cursor)))).unwrap_or_default();
    let may_any = acting.may(Permission::KeysManageAny);
    let may_create = may_any || acting.may(Permission::KeysManageOwn);
    let may_stop = acting.may(Permission::KeysRevokeAny) || acting.may(Permission::KeysManageOwn);
    let limit = i64::from(settings.keys_per_member);
    KeysPage {
        frame: member.frame.clone(),
        settings_url: member.url("/settings"),
        events_url: member.url("/events"),
        tenant: acting.tenant.name.clone(),
        tabs,
        headings,
        rows,
        columns: COLUMNS.iter().map(|(word, label, _)| (*word, *label, cols.contains(word))).collect(),
        cols,
        owners: MemberFilter::default(),
        access: access_options,
        used,
        total: count_of(Tab::All),
        active: count_of(Tab::Active),
        shown,
        range,
        previous: place(page.previous.clone()),
        next: place(page.next.clone()),
        sortable: page.sortable,
        keys_off: !settings.keys_enabled,
        may_settings: acting.may(Permission::SettingsManage),
        may_create,
        may_enable: may_any && settings.keys_enabled,
        may_stop,
        may_delete: may_any || (acting.may(Permission::KeysRevokeAny) && settings.admins_delete),
        limit: (may_create && !may_any && mine >= limit).then_some((mine, limit)),
        fragment,
        base,
        query,
    }
}

/// Remembers the columns that the member chose, and shows the same keys again.
///
/// # Errors
/// See [`WebError`].
pub async fn choose_columns(member: Member, mut form: Form) -> WebResult {
    form.only(&["col*", "reset", "back"])?;
    let mut chosen: Vec<&str> = COLUMNS.iter().map(|(word, ..)| *word).filter(|word| form.has("col", word)).collect();
    if chosen.is_empty() {
        chosen.push("none");
    }
    let words = if form.checked("reset") { String::new() } else { chosen.join(" ") };
    let (tenant, id) = (member.acting.tenant.id, member.acting.id);
    member.write(move |tx, _| members::set_grid_columns(tx, tenant, id, &words)).await.map_err(WebError::from)?;
    let back: Vec<(String, String)> = serde_urlencoded::from_str(form.text("back").trim_start_matches('?')).unwrap_or_default();
    let query = KeysQuery::read(&Form::filled(back.iter().map(|(name, value)| (name.as_str(), value.clone()))));
    Ok(see_other(&member.frame, &format!("{}{}", member.url("/keys"), query.to_query())))
}
