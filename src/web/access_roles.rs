//! Access roles: the list, making one, changing one with the question of how many that changes, removing.

use actix_web::{HttpRequest, http::StatusCode, web::Path};
use askama::Template;

use super::{
    access::{Head, ListQuery, PAGE, Removal, description, head, losers, place, range, refused},
    error::WebError,
    form::Form,
    page::{Frame, Link, Question, WebResult, ask_as, done, show, show_as, status_of},
    picker::{self, Offered},
    session::Member,
};
use crate::{
    actions::access::{self, AccessError},
    domain::{
        ids::AccessRoleId,
        names::{self, Scope, Scopes},
        permission::Permission,
    },
    store::{
        Db, StoreError,
        access::{AccessRole, role as find_role},
        catalogue::{self, Holders, Turn, Uses},
        members::Reach,
    },
};

/// Counting keys for the list stops there.
const MOST_KEYS: i64 = 10_000;

struct Row {
    id: AccessRoleId,
    name: String,
    description: String,
    scopes: Vec<String>,
    members: i64,
    keys: String,
    keys_url: String,
}

#[derive(Template)]
#[template(path = "access/roles.html")]
struct RolesPage {
    frame: Frame,
    head: Head,
    url: String,
    query: ListQuery,
    rows: Vec<Row>,
    range: String,
    previous: String,
    next: String,
}

fn base(member: &Member) -> String {
    member.url("/access/roles")
}

/// `GET /t/{tenant}/access/roles`
pub async fn list(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let query = ListQuery::read(&req)?;
    let (text, turn) = (query.text.clone(), query.turn.clone());
    let read = move |db: &mut Db, reach: &Reach| {
        let tenant = reach.tenant();
        let page = catalogue::roles(db, tenant, &text, &turn, PAGE)?;
        let holders: Vec<Holders> =
            page.rows.iter().map(|role| catalogue::holders(db, tenant, role.id, Some(MOST_KEYS + 1))).collect::<Result<_, _>>()?;
        Ok((catalogue::counts(db, tenant)?, holders, page))
    };
    let read: Result<_, StoreError> = member.read(read).await;
    let (counts, holders, page) = read?;
    let url = base(&member);
    let (previous, next) = query.pages(&url, &page, |role| role.name.clone());
    let sees_keys = member.may(Permission::KeysReadAny);
    let rows: Vec<Row> = page
        .rows
        .into_iter()
        .zip(holders)
        .map(|(role, holders)| Row {
            id: role.id,
            name: role.name,
            description: role.description,
            scopes: role.scopes.iter().map(ToString::to_string).collect(),
            members: holders.members,
            keys: if holders.keys > MOST_KEYS { "10 000+".into() } else { holders.keys.to_string() },
            keys_url: if sees_keys { member.url(&format!("/keys?access={}", role.id)) } else { String::new() },
        })
        .collect();
    let range = range(rows.len(), counts.roles, &query, ("access role", "access roles"));
    show(&RolesPage { frame: member.frame.clone(), head: head(&member, counts, 1), url, query, rows, range, previous, next })
}

#[derive(Template)]
#[template(path = "access/role.html")]
struct RolePage {
    frame: Frame,
    form: Form,
    title: String,
    crumbs: Vec<Link>,
    action: String,
    back: String,
    submit: &'static str,
    offered: Vec<Offered>,
    /// How many scopes there are beside those that are shown.
    others: bool,
    holders: Option<Holders>,
    /// What somebody else saved while the form was open.
    newer: Vec<(&'static str, String)>,
}

fn crumbs(member: &Member) -> Vec<Link> {
    vec![Link::new("Access roles", base(member))]
}

/// The form: every chosen scope, then the first others that its filter finds.
async fn page(member: &Member, form: Form, role: Option<AccessRoleId>) -> WebResult {
    drawn(member, form, role, Vec::new()).await
}

async fn drawn(member: &Member, form: Form, role: Option<AccessRoleId>, newer: Vec<(&'static str, String)>) -> WebResult {
    let chosen: Vec<String> = form.all("scope").map(str::to_owned).collect();
    let text = picker::sought(form.text("find_scope"));
    let read = move |db: &mut Db, reach: &Reach| {
        let tenant = reach.tenant();
        let mut offered = Vec::new();
        for name in &chosen {
            let says = name.parse::<Scope>().ok().map(|scope| catalogue::scope(db, tenant, &scope)).transpose()?.flatten();
            offered.push(Offered::new(name, name, says.unwrap_or_default()));
        }
        let found = catalogue::scopes(db, tenant, &text, &Turn::Start, picker::MOST)?;
        let others = found.rows.into_iter().filter(|(scope, _)| !chosen.iter().any(|name| name == scope.as_str()));
        offered.extend(others.map(|(scope, says)| Offered::new(scope.to_string(), scope.to_string(), says)));
        let holders = role.map(|role| catalogue::holders(db, tenant, role, None)).transpose()?;
        Ok((offered, found.next || !text.is_empty(), holders))
    };
    let read: Result<_, StoreError> = member.read(read).await;
    let (offered, others, holders) = read?;
    let page = RolePage {
        frame: member.frame.clone(),
        title: role.map_or_else(|| "Create access role".into(), |_| "Edit access role".into()),
        crumbs: crumbs(member),
        action: role.map_or_else(|| format!("{}/new", base(member)), |id| format!("{}/{id}", base(member))),
        back: base(member),
        submit: if role.is_some() { "Save access role" } else { "Create access role" },
        offered,
        others,
        holders,
        newer,
        form,
    };
    show_as(if page.newer.is_empty() { status_of(&page.form) } else { StatusCode::CONFLICT }, &page)
}

/// `GET /t/{tenant}/access/roles/new`
pub async fn new(member: Member) -> WebResult {
    member.needs(Permission::AccessManage)?;
    page(&member, Form::default(), None).await
}

const FIELDS: [&str; 9] = ["name", "description", "scope*", "find_scope", "found_scope", "offer", "seen", "members", "keys"];

/// What the form says a role is.
fn read(form: &mut Form) -> Option<(String, String, Scopes)> {
    let name = form.parse("name", |text| names::line("Name", text, 1, 100));
    let said = description(form);
    let scopes = form.all("scope").map(str::parse::<Scope>).collect::<Result<Scopes, _>>();
    match scopes {
        Ok(scopes) if !scopes.is_empty() => Some((name?, said?, scopes)),
        Ok(_) => {
            form.wrong("scope", "Choose one scope or more.");
            None
        }
        Err(error) => {
            form.wrong("scope", error);
            None
        }
    }
}

/// `POST /t/{tenant}/access/roles/new`
pub async fn create(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&FIELDS)?;
    if form.checked("offer") || form.searches("scope") {
        return page(&member, form, None).await;
    }
    let Some((name, said, scopes)) = read(&mut form) else { return page(&member, form, None).await };
    let words = format!("Access role “{name}” created.");
    match member.write(move |tx, by| access::create_role(tx, by, &name, &said, &scopes)).await {
        Ok(_) => done(&member.site, &member.frame, &words, &base(&member)),
        Err(error) => {
            place(&member, &mut form, error, "name")?;
            page(&member, form, None).await
        }
    }
}

async fn find(member: &Member, id: AccessRoleId) -> Result<AccessRole, WebError> {
    let role: Result<_, StoreError> = member.read(move |db, reach| find_role(db, reach.tenant(), id)).await;
    role?.ok_or(WebError::NotFound)
}

fn filled(role: &AccessRole) -> Form {
    let mut form = Form::filled([("name", role.name.clone()), ("description", role.description.clone()), ("seen", role.mark())]);
    form.set_all("scope", role.scopes.iter().map(ToString::to_string));
    form
}

/// `GET /t/{tenant}/access/roles/{role}`
pub async fn edit(member: Member, path: Path<(String, AccessRoleId)>) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let role = find(&member, path.1).await?;
    page(&member, filled(&role), Some(role.id)).await
}

/// `POST /t/{tenant}/access/roles/{role}`
pub async fn save(member: Member, path: Path<(String, AccessRoleId)>, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&FIELDS)?;
    let before = find(&member, path.1).await?;
    if form.checked("offer") || form.searches("scope") {
        return page(&member, form, Some(before.id)).await;
    }
    let Some((name, description, scopes)) = read(&mut form) else { return page(&member, form, Some(before.id)).await };
    let role = AccessRole { id: before.id, name, description, scopes };
    let seen = form.text("seen").to_owned();
    let counted = |field: &str| form.text(field).parse::<i64>().ok();
    let confirmed = counted("members").zip(counted("keys")).map(|(members, keys)| Holders { members, keys });
    let words = format!("Access role “{}” saved.", role.name);
    let changed = role.clone();
    match member.write(move |tx, by| access::edit_role(tx, by, &changed, &seen, confirmed)).await {
        Ok(()) => done(&member.site, &member.frame, &words, &base(&member)),
        Err(AccessError::AsksForRole(holders)) => ask_change(&member, &form, &before, &role, holders, confirmed.is_some()),
        Err(AccessError::Changed) => {
            let now = find(&member, before.id).await?;
            form.set("seen", now.mark());
            let scopes: Vec<&str> = now.scopes.iter().map(Scope::as_str).collect();
            let about = if now.description.is_empty() { "Nothing".to_owned() } else { now.description.clone() };
            let newer = vec![("Name", now.name.clone()), ("What it is for", about), ("Scopes", scopes.join(", "))];
            drawn(&member, form, Some(now.id), newer).await
        }
        Err(error) => {
            place(&member, &mut form, error, "name")?;
            page(&member, form, Some(before.id)).await
        }
    }
}

#[derive(Template)]
#[template(path = "access/role_change.html")]
struct Change {
    fields: Vec<(&'static str, String)>,
    holders: Holders,
    added: Vec<String>,
    removed: Vec<String>,
    again: bool,
}

fn ask_change(member: &Member, form: &Form, before: &AccessRole, role: &AccessRole, holders: Holders, again: bool) -> WebResult {
    let url = format!("{}/{}", base(member), role.id);
    let question = Question {
        asks: format!("Change what “{}” allows?", before.name),
        action: url.clone(),
        submit: "Save access role".into(),
        danger: !role.scopes.is_superset(&before.scopes),
        cancel: url.clone(),
        crumbs: vec![Link::new("Access roles", base(member)), Link::new(before.name.clone(), url)],
        ..Question::default()
    };
    let texts = |scopes: &Scopes, others: &Scopes| scopes.difference(others).map(ToString::to_string).collect();
    let mut fields: Vec<(&'static str, String)> = vec![
        ("name", role.name.clone()),
        ("description", role.description.clone()),
        ("seen", form.text("seen").to_owned()),
        ("members", holders.members.to_string()),
        ("keys", holders.keys.to_string()),
    ];
    fields.extend(role.scopes.iter().map(|scope| ("scope", scope.to_string())));
    let body = Change { fields, holders, added: texts(&role.scopes, &before.scopes), removed: texts(&before.scopes, &role.scopes), again };
    ask_as(if again { StatusCode::CONFLICT } else { StatusCode::OK }, &member.frame, &question, &Form::default(), &body)
}

fn ask_remove(member: &Member, role: &AccessRole, uses: &Uses, again: bool) -> WebResult {
    let question = Question {
        asks: format!("Remove the access role “{}”?", role.name),
        action: format!("{}/{}/remove", base(member), role.id),
        submit: "Remove access role".into(),
        danger: true,
        cancel: base(member),
        crumbs: crumbs(member),
        ..Question::default()
    };
    let body = Removal {
        fields: vec![("seen", uses.mark())],
        losers: losers(uses, &member.acting.reach()),
        left: "Keys that have it keep no scope, and are refused where one is asked for, until they are given access again.",
        again,
    };
    ask_as(if again { StatusCode::CONFLICT } else { StatusCode::OK }, &member.frame, &question, &Form::default(), &body)
}

/// `GET /t/{tenant}/access/roles/{role}/remove`
pub async fn removal(member: Member, path: Path<(String, AccessRoleId)>) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let role = find(&member, path.1).await?;
    let id = role.id;
    let uses: Result<_, StoreError> = member.read(move |db, reach| catalogue::role_uses(db, reach.tenant(), id)).await;
    ask_remove(&member, &role, &uses?, false)
}

/// `POST /t/{tenant}/access/roles/{role}/remove`
pub async fn remove(member: Member, path: Path<(String, AccessRoleId)>, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&["seen"])?;
    let role = find(&member, path.1).await?;
    let (id, seen) = (role.id, form.text("seen").to_owned());
    match member.write(move |tx, by| access::remove_role(tx, by, id, &seen)).await {
        Ok(()) => done(&member.site, &member.frame, &format!("Access role “{}” removed.", role.name), &base(&member)),
        Err(AccessError::AsksFor(uses)) => ask_remove(&member, &role, &uses, true),
        Err(error) => Err(refused(&member, error)),
    }
}
