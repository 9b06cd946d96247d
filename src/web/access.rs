//! The scopes of the tenant's API: the list, adding one or a pair, describing, removing; and what the pages of access roles and
//! resources have in common with it.

use actix_web::{HttpRequest, http::StatusCode};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_fields::reserved,
    page::{Frame, Link, Question, WebResult, ask, ask_as, done, show, status_of},
    picker::Offered,
    session::Member,
};
use crate::{
    actions::access::{self, AccessError, ScopePair},
    domain::{
        names::{self, Scope},
        permission::Permission,
    },
    store::{
        Db, StoreError,
        catalogue::{self, Counts, Paged, Turn, Uses},
        members::Reach,
    },
};

/// How many rows a page of a list has.
pub const PAGE: usize = 50;
/// How many names a question lists of those who lose something.
const MOST_NAMED: usize = 5;
/// The longest description.
const LONGEST: usize = 200;

/// One of the three lists.
pub struct Tab {
    pub(super) label: &'static str,
    pub(super) url: String,
    pub(super) count: i64,
    pub(super) current: bool,
}

/// The top of the three lists.
pub struct Head {
    pub(super) tenant: String,
    pub(super) tabs: [Tab; 3],
    /// The kinds to choose from; empty where there are none.
    pub(super) kinds: Vec<String>,
}

/// The three lists with their counts; `current` is the number of the one that is shown.
pub fn head(member: &Member, counts: Counts, current: usize) -> Head {
    let tab = |at: usize, label, end: &str, count| Tab { label, url: member.url(end), count, current: at == current };
    Head {
        tenant: member.acting.tenant.name.clone(),
        tabs: [
            tab(0, "Scopes", "/access", counts.scopes),
            tab(1, "Access roles", "/access/roles", counts.roles),
            tab(2, "Resources", "/access/resources", counts.resources),
        ],
        kinds: Vec::new(),
    }
}

/// What an address says of a list: a filter, and which page.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// The filter; empty for all.
    pub text: String,
    /// The kind of resources; empty for any.
    pub kind: String,
    /// Which page.
    pub turn: Turn,
}

impl ListQuery {
    /// Reads it from an address.
    ///
    /// # Errors
    /// 400 for what no list knows.
    pub fn read(req: &HttpRequest) -> Result<Self, WebError> {
        let mut form = Form::from_query(req)?;
        form.only(&["q", "kind", "after", "before"])?;
        let turn = match (form.text("after"), form.text("before")) {
            ("", "") => Turn::Start,
            ("", before) => Turn::Before(before.to_owned()),
            (after, _) => Turn::After(after.to_owned()),
        };
        Ok(Self { text: form.text("q").trim().chars().take(200).collect(), kind: form.text("kind").to_owned(), turn })
    }

    /// Whether anything is left out.
    pub fn is_filtered(&self) -> bool {
        !self.text.is_empty() || !self.kind.is_empty()
    }

    /// The addresses of the pages before and after, empty where there is none. `key` names an entry.
    pub fn pages<T>(&self, base: &str, page: &Paged<T>, key: impl Fn(&T) -> String) -> (String, String) {
        let to = |word: &str, row: Option<&T>| {
            let fields = [("q", self.text.clone()), ("kind", self.kind.clone()), (word, row.map(&key).unwrap_or_default())];
            let query = serde_urlencoded::to_string(fields.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>());
            format!("{base}?{}", query.unwrap_or_default())
        };
        let previous = if page.previous { to("before", page.rows.first()) } else { String::new() };
        let next = if page.next { to("after", page.rows.last()) } else { String::new() };
        (previous, next)
    }
}

/// How many rows are shown, in words.
pub fn range(shown: usize, total: i64, query: &ListQuery, word: (&str, &str)) -> String {
    let (one, many) = word;
    if query.is_filtered() { format!("{shown} on this page") } else { format!("{shown} of {total} {}", if total == 1 { one } else { many }) }
}

/// Some of those who lose something: the first by name, and how many more.
pub struct Named {
    lead: String,
    names: Vec<String>,
    more: usize,
}

fn named(one: &str, many: &str, all: usize, names: Vec<String>) -> Option<Named> {
    let lead = if all == 1 { format!("1 {one}") } else { format!("{all} {many}") };
    let more = all - names.len();
    (all > 0).then_some(Named { lead, names, more })
}

/// Who loses something when it goes, as far as the member may see the keys.
pub fn losers(uses: &Uses, reach: &Reach) -> Vec<Named> {
    let count = |count: i64, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    let roles =
        uses.roles.iter().take(MOST_NAMED).map(|(name, who)| format!("“{name}” ({}, {})", count(who.members, "member"), count(who.keys, "key")));
    let seen = uses.keys.iter().filter(|key| reach.owners().is_none_or(|owners| owners.contains(&key.owner.0)));
    let keys = seen.take(MOST_NAMED).map(|key| format!("“{}” ({})", key.name, key.id)).collect();
    [
        named("access role", "access roles", uses.roles.len(), roles.collect()),
        named("member", "members", uses.members.len(), uses.members.iter().take(MOST_NAMED).cloned().collect()),
        named("key", "keys", uses.keys.len(), keys),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The body of the question before something is removed.
#[derive(Template)]
#[template(path = "access/remove.html")]
pub struct Removal {
    /// Hidden fields.
    pub fields: Vec<(&'static str, String)>,
    /// Who loses it.
    pub losers: Vec<Named>,
    /// What is left to keys that lose it.
    pub left: &'static str,
    /// Whether this is asked again because others use it by now.
    pub again: bool,
}

/// What an action refused, where no field can say it.
pub fn refused(member: &Member, error: AccessError) -> WebError {
    match error {
        AccessError::NotFound => WebError::NotFound,
        AccessError::NotAllowed => member.forbidden(Permission::AccessManage),
        AccessError::Store(error) => error.into(),
        AccessError::Key(error) => super::key_refused::error(error),
        other => WebError::BadRequest(format!("{other} Nothing was changed.")),
    }
}

/// Reads the field `description`.
pub fn description(form: &mut Form) -> Option<String> {
    form.parse("description", |text| names::line("Description", text, 0, LONGEST))
}

/// Answers what an action came to: leads to the list, or puts what was refused beside the field that `field` says.
pub fn place(member: &Member, form: &mut Form, error: AccessError, field: &'static str) -> Result<(), WebError> {
    let at = match &error {
        AccessError::ScopeExists(_) | AccessError::NoSuchScope(_) | AccessError::Reserved => "scope",
        AccessError::RoleExists(_) => field,
        AccessError::ResourceExists(_) => "name",
        AccessError::Suspended | AccessError::Changed => "",
        _ => return Err(refused(member, error)),
    };
    form.wrong(at, error);
    Ok(())
}

/// A scope in the list.
struct Row {
    name: String,
    description: String,
    roles: Vec<(String, String)>,
    keys: Option<usize>,
    edit: String,
    remove: String,
}

#[derive(Template)]
#[template(path = "access/scopes.html")]
struct ScopesPage {
    frame: Frame,
    head: Head,
    url: String,
    query: ListQuery,
    rows: Vec<Row>,
    reserved: Vec<Offered>,
    range: String,
    previous: String,
    next: String,
}

/// `GET /t/{tenant}/access`
pub async fn list(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let query = ListQuery::read(&req)?;
    let (text, turn) = (query.text.clone(), query.turn.clone());
    let read = move |db: &mut Db, reach: &Reach| {
        let tenant = reach.tenant();
        let page = catalogue::scopes(db, tenant, &text, &turn, PAGE)?;
        let names: Vec<&str> = page.rows.iter().map(|(scope, _)| scope.as_str()).collect();
        Ok((catalogue::counts(db, tenant)?, catalogue::roles_with(db, tenant, &names)?, catalogue::chosen_scopes(db, tenant)?, page))
    };
    let read: Result<_, StoreError> = member.read(read).await;
    let (counts, roles, keys, page) = read?;
    let url = member.url("/access");
    let (previous, next) = query.pages(&url, &page, |(scope, _)| scope.to_string());
    let at =
        |verb: &str, scope: &Scope| format!("{url}/scopes/{verb}?{}", serde_urlencoded::to_string([("scope", scope.as_str())]).unwrap_or_default());
    let rows: Vec<Row> = page
        .rows
        .iter()
        .map(|(scope, description)| Row {
            name: scope.to_string(),
            description: description.clone(),
            roles: roles
                .iter()
                .filter(|(name, ..)| name == scope.as_str())
                .map(|(_, id, role)| (format!("{url}/roles/{id}"), role.clone()))
                .collect(),
            keys: keys.as_ref().map(|keys| keys.get(scope.as_str()).copied().unwrap_or_default()),
            edit: at("edit", scope),
            remove: at("remove", scope),
        })
        .collect();
    let range = range(rows.len(), counts.scopes, &query, ("scope", "scopes"));
    let reserved = if query.is_filtered() || query.turn != Turn::Start { Vec::new() } else { reserved() };
    show(&ScopesPage { frame: member.frame.clone(), head: head(&member, counts, 0), url, query, rows, reserved, range, previous, next })
}

#[derive(Template)]
#[template(path = "access/scope_new.html")]
struct NewScope<'a> {
    form: &'a Form,
}

fn crumbs(member: &Member) -> Vec<Link> {
    vec![Link::new("Scopes", member.url("/access"))]
}

fn ask_new(member: &Member, form: &Form) -> WebResult {
    let question = Question {
        asks: "Add scope".into(),
        action: member.url("/access/scopes/new"),
        submit: "Add scope".into(),
        cancel: member.url("/access"),
        crumbs: crumbs(member),
        ..Question::default()
    };
    ask(&member.frame, &question, form, &NewScope { form })
}

/// `GET /t/{tenant}/access/scopes/new`
pub async fn new(member: Member) -> WebResult {
    member.needs(Permission::AccessManage)?;
    ask_new(&member, &Form::filled([("makes", "one".to_owned())]))
}

/// `inventory` becomes `inventory:read` and `inventory:write`, and *Inventory: read only* and *Inventory: read & write*.
fn pair(area: &str, with_roles: bool) -> Result<ScopePair, String> {
    let area = area.trim();
    if area.is_empty() {
        return Err("Enter what both names begin with, such as inventory.".into());
    }
    let scope = |verb: &str| format!("{area}:{verb}").parse::<Scope>().map_err(|_| "Enter 1 to 94 of A–Z, a–z, 0–9 and . _ : / -".to_owned());
    let titled: String = area.chars().take(1).flat_map(char::to_uppercase).chain(area.chars().skip(1)).collect();
    let roles = with_roles.then(|| (format!("{titled}: read only"), format!("{titled}: read & write")));
    if roles.as_ref().is_some_and(|(_, long)| long.chars().count() > 100) {
        return Err("This is too long for the names of the access roles.".into());
    }
    Ok(ScopePair { read: scope("read")?, write: scope("write")?, roles })
}

/// `POST /t/{tenant}/access/scopes/new`
pub async fn create(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&["scope", "description", "makes", "roles"])?;
    let said = description(&mut form);
    if form.has("makes", "pair") {
        let with_roles = form.checked("roles");
        let pair = form.parse("scope", |text| pair(text, with_roles));
        let (Some(pair), Some(said)) = (pair, said) else { return ask_new(&member, &form) };
        let words = match &pair.roles {
            Some(_) => format!("Scopes {} and {} added, with two access roles.", pair.read, pair.write),
            None => format!("Scopes {} and {} added.", pair.read, pair.write),
        };
        let made = member.write(move |tx, by| access::create_pair(tx, by, &pair, &said)).await;
        return created(&member, form, made, &words);
    }
    let scope = form.parse("scope", |text| text.trim().parse::<Scope>());
    let (Some(scope), Some(said)) = (scope, said) else { return ask_new(&member, &form) };
    let words = format!("Scope {scope} added.");
    let made = member.write(move |tx, by| access::create_scope(tx, by, &scope, &said)).await;
    created(&member, form, made, &words)
}

fn created(member: &Member, mut form: Form, made: Result<(), AccessError>, words: &str) -> WebResult {
    match made {
        Ok(()) => done(&member.site, &member.frame, words, &member.url("/access")),
        Err(error) => {
            place(member, &mut form, error, "roles")?;
            ask_new(member, &form)
        }
    }
}

/// The scope that an address or form names.
fn asked(form: &Form) -> Result<Scope, WebError> {
    form.text("scope").parse().map_err(|_| WebError::NotFound)
}

#[derive(Template)]
#[template(path = "access/scope_edit.html")]
struct EditScope<'a> {
    form: &'a Form,
}

fn ask_edit(member: &Member, form: &Form, scope: &Scope) -> WebResult {
    let question = Question {
        asks: format!("Describe {scope}"),
        action: member.url("/access/scopes/edit"),
        submit: "Save description".into(),
        cancel: member.url("/access"),
        crumbs: crumbs(member),
        ..Question::default()
    };
    ask(&member.frame, &question, form, &EditScope { form })
}

/// `GET /t/{tenant}/access/scopes/edit?scope=…`
pub async fn edit(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let mut query = Form::from_query(&req)?;
    query.only(&["scope"])?;
    let scope = asked(&query)?;
    let name = scope.clone();
    let said: Result<_, StoreError> = member.read(move |db, reach| catalogue::scope(db, reach.tenant(), &name)).await;
    let said = said?.ok_or(WebError::NotFound)?;
    ask_edit(&member, &Form::filled([("scope", scope.to_string()), ("description", said)]), &scope)
}

/// `POST /t/{tenant}/access/scopes/edit`
pub async fn save(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&["scope", "description"])?;
    let scope = asked(&form)?;
    let Some(said) = description(&mut form) else { return ask_edit(&member, &form, &scope) };
    let name = scope.clone();
    match member.write(move |tx, by| access::edit_scope(tx, by, &name, &said)).await {
        Ok(()) => done(&member.site, &member.frame, "Description saved.", &member.url("/access")),
        Err(error) => {
            place(&member, &mut form, error, "")?;
            ask_edit(&member, &form, &scope)
        }
    }
}

fn ask_remove(member: &Member, form: &Form, scope: &Scope, uses: &Uses, again: bool) -> WebResult {
    let question = Question {
        asks: format!("Remove the scope {scope}?"),
        action: member.url("/access/scopes/remove"),
        submit: "Remove scope".into(),
        danger: true,
        cancel: member.url("/access"),
        crumbs: crumbs(member),
        ..Question::default()
    };
    let body = Removal {
        fields: vec![("scope", scope.to_string()), ("seen", uses.mark())],
        losers: losers(uses, &member.acting.reach()),
        left: "A key for which nothing else was chosen has no scope then, and is refused where one is asked for.",
        again,
    };
    ask_as(if again { StatusCode::CONFLICT } else { status_of(form) }, &member.frame, &question, form, &body)
}

/// `GET /t/{tenant}/access/scopes/remove?scope=…`
pub async fn removal(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let mut query = Form::from_query(&req)?;
    query.only(&["scope"])?;
    let scope = asked(&query)?;
    let name = scope.clone();
    let read = move |db: &mut Db, reach: &Reach| match catalogue::scope(db, reach.tenant(), &name)? {
        Some(_) => catalogue::scope_uses(db, reach.tenant(), &name).map(Some),
        None => Ok(None),
    };
    let uses: Result<_, StoreError> = member.read(read).await;
    ask_remove(&member, &Form::default(), &scope, &uses?.ok_or(WebError::NotFound)?, false)
}

/// `POST /t/{tenant}/access/scopes/remove`
pub async fn remove(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&["scope", "seen"])?;
    let scope = asked(&form)?;
    let (name, seen) = (scope.clone(), form.text("seen").to_owned());
    match member.write(move |tx, by| access::remove_scope(tx, by, &name, &seen)).await {
        Ok(()) => done(&member.site, &member.frame, &format!("Scope {scope} removed."), &member.url("/access")),
        Err(AccessError::AsksFor(uses)) => ask_remove(&member, &form, &scope, &uses, true),
        Err(error) => Err(refused(&member, error)),
    }
}
