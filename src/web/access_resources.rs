//! The resources that the tenant's API guards: the list by kind, describing, removing.

use actix_web::{HttpRequest, http::StatusCode, web::Path};
use askama::Template;

use super::{
    access::{Head, ListQuery, PAGE, Removal, description, head, losers, place, range, refused},
    error::WebError,
    form::Form,
    page::{Frame, Link, Question, WebResult, ask, ask_as, done, show},
    session::Member,
};
use crate::{
    actions::access::{self, AccessError},
    domain::{ids::ResourceId, permission::Permission},
    store::{
        Db, StoreError,
        catalogue::{self, Uses},
        members::Reach,
        resources::{self, Entry},
    },
};

struct Row {
    id: ResourceId,
    name: String,
    kind: String,
    description: String,
    keys: Option<usize>,
    held: String,
    key_url: String,
}

#[derive(Template)]
#[template(path = "access/resources.html")]
struct ResourcesPage {
    frame: Frame,
    head: Head,
    url: String,
    query: ListQuery,
    rows: Vec<Row>,
    range: String,
    previous: String,
    next: String,
}

/// The address of the list.
pub fn base(member: &Member) -> String {
    member.url("/access/resources")
}

/// Whether the member may make a key now.
pub fn may_make_key(member: &Member) -> bool {
    member.may(Permission::KeysManageOwn) && member.acting.tenant.settings.keys_enabled
}

fn held(all: i64, chosen: i64) -> String {
    match all + chosen {
        1 => "1 member".into(),
        count => format!("{count} members"),
    }
}

/// `GET /t/{tenant}/access/resources`
pub async fn list(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let query = ListQuery::read(&req)?;
    let asked = query.clone();
    let read = move |db: &mut Db, reach: &Reach| {
        let tenant = reach.tenant();
        let kind = Some(asked.kind.as_str()).filter(|kind| !kind.is_empty());
        let page = resources::page(db, tenant, kind, &asked.text, &asked.turn, PAGE)?;
        let patterns: std::collections::BTreeSet<String> =
            page.rows.iter().flat_map(|row| [row.resource.to_string(), format!("{}:*", row.resource.kind)]).collect();
        let holders = resources::holders(db, tenant, &patterns.into_iter().collect::<Vec<_>>())?;
        Ok((catalogue::counts(db, tenant)?, resources::kinds(db, tenant)?, resources::bound_keys(db, tenant)?, holders, page))
    };
    let read: Result<_, StoreError> = member.read(read).await;
    let (counts, kinds, keys, (chosen, all), page) = read?;
    let url = base(&member);
    let (previous, next) = query.pages(&url, &page, |row| row.resource.to_string());
    let makes_keys = may_make_key(&member);
    let rows: Vec<Row> = page
        .rows
        .into_iter()
        .map(|Entry { id, resource, description }| {
            let name = resource.to_string();
            let by = |pattern: &str| chosen.get(pattern).copied().unwrap_or_default();
            let query = serde_urlencoded::to_string([("resource", &name)]).unwrap_or_default();
            Row {
                id,
                keys: keys.as_ref().map(|keys| keys.get(&name).copied().unwrap_or_default()),
                held: held(all, by(&name) + by(&format!("{}:*", resource.kind))),
                key_url: if makes_keys { member.url(&format!("/keys/new?{query}")) } else { String::new() },
                name,
                kind: resource.kind,
                description,
            }
        })
        .collect();
    let range = range(rows.len(), counts.resources, &query, ("resource", "resources"));
    show(&ResourcesPage { frame: member.frame.clone(), head: Head { kinds, ..head(&member, counts, 2) }, url, query, rows, range, previous, next })
}

fn crumbs(member: &Member) -> Vec<Link> {
    vec![Link::new("Resources", base(member))]
}

async fn find(member: &Member, id: ResourceId) -> Result<Entry, WebError> {
    let entry: Result<_, StoreError> = member.read(move |db, reach| resources::find(db, reach.tenant(), id)).await;
    entry?.ok_or(WebError::NotFound)
}

#[derive(Template)]
#[template(path = "access/resource_edit.html")]
struct EditResource<'a> {
    form: &'a Form,
}

fn ask_edit(member: &Member, form: &Form, entry: &Entry) -> WebResult {
    let question = Question {
        asks: format!("Describe {}", entry.resource),
        action: format!("{}/{}/edit", base(member), entry.id),
        submit: "Save description".into(),
        cancel: base(member),
        crumbs: crumbs(member),
        ..Question::default()
    };
    ask(&member.frame, &question, form, &EditResource { form })
}

/// `GET /t/{tenant}/access/resources/{resource}/edit`
pub async fn edit(member: Member, path: Path<(String, ResourceId)>) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let entry = find(&member, path.1).await?;
    ask_edit(&member, &Form::filled([("description", entry.description.clone())]), &entry)
}

/// `POST /t/{tenant}/access/resources/{resource}/edit`
pub async fn save(member: Member, path: Path<(String, ResourceId)>, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&["description"])?;
    let entry = find(&member, path.1).await?;
    let Some(said) = description(&mut form) else { return ask_edit(&member, &form, &entry) };
    let id = entry.id;
    match member.write(move |tx, by| access::edit_resource(tx, by, id, &said)).await {
        Ok(_) => done(&member.site, &member.frame, "Description saved.", &base(&member)),
        Err(error) => {
            place(&member, &mut form, error, "")?;
            ask_edit(&member, &form, &entry)
        }
    }
}

fn ask_remove(member: &Member, entry: &Entry, uses: &Uses, again: bool) -> WebResult {
    let question = Question {
        asks: format!("Remove the resource {}?", entry.resource),
        action: format!("{}/{}/remove", base(member), entry.id),
        submit: "Remove resource".into(),
        danger: true,
        cancel: base(member),
        crumbs: crumbs(member),
        ..Question::default()
    };
    let body = Removal {
        fields: vec![("seen", uses.mark())],
        losers: losers(uses, &member.acting.reach()),
        left: "Whoever has no other resource chosen reaches none then, never all.",
        again,
    };
    ask_as(if again { StatusCode::CONFLICT } else { StatusCode::OK }, &member.frame, &question, &Form::default(), &body)
}

/// `GET /t/{tenant}/access/resources/{resource}/remove`
pub async fn removal(member: Member, path: Path<(String, ResourceId)>) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let entry = find(&member, path.1).await?;
    let resource = entry.resource.clone();
    let uses: Result<_, StoreError> = member.read(move |db, reach| resources::uses(db, reach.tenant(), &resource)).await;
    ask_remove(&member, &entry, &uses?, false)
}

/// `POST /t/{tenant}/access/resources/{resource}/remove`
pub async fn remove(member: Member, path: Path<(String, ResourceId)>, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    form.only(&["seen"])?;
    let entry = find(&member, path.1).await?;
    let (id, seen) = (entry.id, form.text("seen").to_owned());
    match member.write(move |tx, by| access::remove_resource(tx, by, id, &seen)).await {
        Ok(entry) => done(&member.site, &member.frame, &format!("Resource {} removed.", entry.resource), &base(&member)),
        Err(AccessError::AsksFor(uses)) => ask_remove(&member, &entry, &uses, true),
        Err(error) => Err(refused(&member, error)),
    }
}
