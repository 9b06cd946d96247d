//! Console roles: what each opens, who holds it, and the tenant's own ones.

use actix_web::{http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    member::{KeyLine, key_lines},
    member_fields::Tick,
    members::{Tabs, refused, tabs},
    page::{Frame, Link, Question, WebResult, ask, done, show, show_as, status_of},
    session::Member,
};
use crate::{
    actions::{members::MemberError, roles},
    domain::{
        ids::{ConsoleRoleId, KeyId},
        names::line,
        permission::{BuiltIn, Permission, Permissions},
    },
    store::{
        StoreError,
        console_roles::{self, ConsoleRole},
        member_list,
    },
};

/// How many holders a role's page names; the list of members has the others.
const HOLDERS: i64 = 20;

/// What a permission opens, in words.
const fn says(permission: Permission) -> &'static str {
    match permission {
        Permission::KeysReadAny => "See every key in the tenant",
        Permission::KeysManageOwn => "Create, edit, roll, renew, disable and enable own keys",
        Permission::KeysManageAny => "The same for keys of every member",
        Permission::KeysRevokeAny => "Disable, revoke and delete keys of every member",
        Permission::MembersManage => "Invite, suspend and remove members, give roles",
        Permission::AccessManage => "Keep scopes, access roles and resources",
        Permission::SettingsManage => "Change settings, console roles and gateway credentials",
        Permission::EventsRead => "See events and export them",
    }
}

struct Column {
    name: String,
    /// Empty for a built-in role, and where the member may change none.
    url: String,
    own: bool,
    held: i64,
    /// Empty where the member may not list members.
    holders_url: String,
}

struct Cell {
    yes: bool,
    note: &'static str,
}

struct MatrixRow {
    says: &'static str,
    name: &'static str,
    cells: Vec<Cell>,
}

#[derive(Template)]
#[template(path = "roles/list.html")]
struct ListPage {
    frame: Frame,
    tabs: Tabs,
    columns: Vec<Column>,
    rows: Vec<MatrixRow>,
    may_change: bool,
    new_url: String,
    settings_url: String,
}

fn may_look(member: &Member) -> Result<(), WebError> {
    if member.may(Permission::MembersManage) { Ok(()) } else { member.needs(Permission::SettingsManage) }
}

/// `GET /t/{tenant}/roles`
pub async fn list(member: Member) -> WebResult {
    may_look(&member)?;
    let tenant = member.acting.tenant.clone();
    let read: Result<_, StoreError> = member
        .read(move |db, _| Ok((console_roles::all(db, &tenant)?, console_roles::counts(db, tenant.id)?, member_list::counts(db, tenant.id)?)))
        .await;
    let (roles, held, counts) = read?;
    let may_change = member.may(Permission::SettingsManage);
    let rows = Permission::ALL
        .iter()
        .map(|(permission, name)| {
            let of_role = |role: &ConsoleRole| Cell {
                yes: role.permissions.has(*permission),
                note: match (role.built_in, permission) {
                    (Some(BuiltIn::TenantAdmin), Permission::KeysManageAny | Permission::KeysReadAny | Permission::KeysRevokeAny) => "by setting",
                    _ => "",
                },
            };
            let everywhere = matches!(permission, Permission::KeysReadAny | Permission::KeysRevokeAny);
            let owner = Cell { yes: everywhere, note: if everywhere { "all tenants" } else { "" } };
            MatrixRow { says: says(*permission), name, cells: roles.iter().map(of_role).chain([owner]).collect() }
        })
        .collect();
    let columns = roles
        .iter()
        .map(|role| Column {
            name: role.name.clone(),
            url: if role.built_in.is_none() && may_change { member.url(&format!("/roles/{}", role.id)) } else { String::new() },
            own: role.built_in.is_none(),
            held: held.iter().find(|(id, _)| *id == role.id).map_or(0, |(_, count)| *count),
            holders_url: holders_url(&member, role.id),
        })
        .collect();
    show(&ListPage {
        frame: member.frame.clone(),
        tabs: tabs(&member, counts, roles.len(), None),
        columns,
        rows,
        may_change,
        new_url: member.url("/roles/new"),
        settings_url: if may_change { member.url("/settings") } else { String::new() },
    })
}

fn holders_url(member: &Member, role: ConsoleRoleId) -> String {
    if member.may(Permission::MembersManage) { member.url(&format!("/members?role={role}")) } else { String::new() }
}

/// Boxes for the permissions that the member may give, and those that the role has.
fn permission_ticks(member: &Member, has: Permissions) -> Vec<Tick> {
    Permission::ALL
        .iter()
        .filter(|(permission, _)| member.may(*permission) || has.has(*permission))
        .map(|(permission, name)| Tick { value: (*name).to_owned(), label: says(*permission).to_owned(), says: (*name).to_owned() })
        .collect()
}

#[derive(Template)]
#[template(path = "roles/form.html")]
struct FormPage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    title: String,
    action: String,
    roles_url: String,
    permissions: Vec<Tick>,
    is_new: bool,
    newer: Vec<(&'static str, String)>,
    /// How many members hold it, their names, and where the others are.
    held: i64,
    holders: Vec<(String, String)>,
    holders_url: String,
}

fn to_roles(member: &Member) -> Vec<Link> {
    vec![Link::new("Console roles", member.url("/roles"))]
}

fn new_page(member: &Member, form: Form) -> WebResult {
    let page = FormPage {
        frame: member.frame.clone(),
        crumbs: to_roles(member),
        title: "Create console role".into(),
        action: member.url("/roles/new"),
        roles_url: member.url("/roles"),
        permissions: permission_ticks(member, Permissions::NONE),
        is_new: true,
        newer: Vec::new(),
        held: 0,
        holders: Vec::new(),
        holders_url: String::new(),
        form,
    };
    show_as(status_of(&page.form), &page)
}

/// `GET /t/{tenant}/roles/new`
pub async fn ask_new(member: Member) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    new_page(&member, Form::default())
}

/// Name and permissions that were typed.
fn read(form: &mut Form) -> Option<(String, Permissions)> {
    let name = form.parse("name", |text| line("Name", text, 1, 60));
    let known = |name: &str| Permission::ALL.iter().any(|(_, known)| *known == name);
    let chosen: Vec<String> = form.all("p").map(str::to_owned).collect();
    if let Some(wrong) = chosen.iter().find(|name| !known(name)) {
        form.wrong("p", format!("There is no permission {}.", wrong.chars().take(40).collect::<String>()));
        return None;
    }
    if chosen.is_empty() {
        form.wrong("p", "Choose one permission or more.");
        return None;
    }
    Some((name?, Permissions::parse(&chosen.join(" "))))
}

/// What is wrong, at the field that it is about.
fn wrong(member: &Member, form: &mut Form, error: MemberError) -> Result<(), WebError> {
    let field = match error {
        MemberError::NameTaken => "name",
        MemberError::NotAllowed => return Err(member.forbidden(Permission::SettingsManage)),
        MemberError::NoSuchRole | MemberError::BuiltIn => return Err(WebError::NotFound),
        MemberError::Climb(_) | MemberError::Seats { .. } => "p",
        _ => "",
    };
    let words = match error {
        MemberError::Climb(_) => "You do not hold every permission that you chose, so you cannot give it.".to_owned(),
        error => refused(member, error)?,
    };
    form.wrong(field, words);
    Ok(())
}

/// `POST /t/{tenant}/roles/new`
pub async fn create(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["name", "p*"])?;
    let Some((name, permissions)) = read(&mut form) else { return new_page(&member, form) };
    let made: Result<_, MemberError> = member.write(move |tx, by| roles::create(tx, by, &name, permissions)).await;
    match made {
        Ok(_) => done(&member.site, &member.frame, "Console role created.", &member.url("/roles")),
        Err(error) => {
            wrong(&member, &mut form, error)?;
            new_page(&member, form)
        }
    }
}

/// A role of the tenant's own, how many hold it, and the names of some.
async fn find(member: &Member, id: &str) -> Result<(ConsoleRole, i64, Vec<(String, String)>), WebError> {
    let id: ConsoleRoleId = id.parse().map_err(|_| WebError::NotFound)?;
    let tenant = member.acting.tenant.clone();
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let Some(role) = console_roles::all(db, &tenant)?.into_iter().find(|role| role.id == id && role.built_in.is_none()) else {
                return Ok(None);
            };
            let held = console_roles::counts(db, tenant.id)?.into_iter().find(|(other, _)| *other == id).map_or(0, |(_, count)| count);
            Ok(Some((role, held, console_roles::holders(db, tenant.id, id, HOLDERS)?)))
        })
        .await;
    let (role, held, holders) = read?.ok_or(WebError::NotFound)?;
    let url = |id| if member.may(Permission::MembersManage) { member.url(&format!("/members/{id}")) } else { String::new() };
    Ok((role, held, holders.into_iter().map(|holder| (holder.name.clone(), url(holder.id))).collect()))
}

/// The form; where `changed`, with what the role is now.
async fn edit_page(member: &Member, id: &str, sent: Option<Form>, changed: bool) -> WebResult {
    let (role, held, holders) = find(member, id).await?;
    let mut form = sent.unwrap_or_else(|| {
        let mut form = Form::filled([("name", role.name.clone())]);
        form.set_all("p", role.permissions.names().split_whitespace().map(str::to_owned));
        form
    });
    if changed || !form.checked("seen") {
        form.set("seen", role.mark());
    }
    let page = FormPage {
        frame: member.frame.clone(),
        crumbs: to_roles(member),
        title: role.name.clone(),
        action: member.url(&format!("/roles/{}", role.id)),
        roles_url: member.url("/roles"),
        permissions: permission_ticks(member, role.permissions),
        is_new: false,
        newer: if changed {
            let opens = Permission::ALL.iter().filter(|(permission, _)| role.permissions.has(*permission)).map(|(permission, _)| says(*permission));
            vec![("Name", role.name.clone()), ("What it opens", opens.collect::<Vec<_>>().join("; "))]
        } else {
            Vec::new()
        },
        holders_url: if held > HOLDERS { holders_url(member, role.id) } else { String::new() },
        held,
        holders,
        form,
    };
    show_as(if changed { StatusCode::CONFLICT } else { status_of(&page.form) }, &page)
}

/// `GET /t/{tenant}/roles/{role}`
pub async fn ask_edit(member: Member, path: Path<(String, String)>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    edit_page(&member, &path.1, None, false).await
}

#[derive(Template)]
#[template(path = "roles/loses_keys.html")]
struct LosesKeys {
    deletes: bool,
    held: i64,
    hidden: Vec<(&'static str, String)>,
    people: Vec<(String, Vec<KeyLine>)>,
    more: bool,
    may_disable: bool,
}

/// The keys of those who could own none without what the role opens now.
async fn losers(member: &Member, role: &ConsoleRole, after: Permissions) -> Result<(Vec<(String, Vec<KeyLine>)>, bool), WebError> {
    let (tenant, role, now) = (member.acting.tenant.clone(), role.clone(), member.by().now);
    let read: Result<_, StoreError> = member.read(move |db, _| roles::losing_keys(db, &tenant, &role, after)).await;
    let (list, more) = read?;
    Ok((list.iter().map(|(owner, keys)| (owner.name.clone(), key_lines(keys, now))).collect(), more))
}

fn disabled(form: &Form) -> Result<Vec<KeyId>, WebError> {
    let ids: Option<Vec<KeyId>> = form.all("disable").map(KeyId::parse).collect();
    ids.ok_or(WebError::NotFound)
}

/// `POST /t/{tenant}/roles/{role}`
pub async fn edit(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["name", "p*", "disable*", "seen", "confirmed"])?;
    let (role, held, _) = find(&member, &path.1).await?;
    let disable = disabled(&form)?;
    let Some((name, permissions)) = read(&mut form) else { return edit_page(&member, &path.1, Some(form), false).await };
    if !form.checked("confirmed") {
        let (people, more) = losers(&member, &role, permissions).await?;
        if !people.is_empty() {
            let hidden = [("name", name), ("seen", form.text("seen").to_owned())]
                .into_iter()
                .chain(form.all("p").map(|permission| ("p", permission.to_owned())))
                .collect();
            let action = member.url(&format!("/roles/{}", role.id));
            let asked = Question {
                asks: format!("Take own keys from those with the role “{}”?", role.name),
                cancel: action.clone(),
                action,
                submit: "Save role".into(),
                danger: true,
                crumbs: to_roles(&member),
                ..Question::default()
            };
            let body = LosesKeys { deletes: false, held, hidden, people, more, may_disable: member.may(Permission::KeysRevokeAny) };
            return ask(&member.frame, &asked, &Form::default(), &body);
        }
    }
    let (id, seen) = (role.id, form.text("seen").to_owned());
    let saved: Result<(), MemberError> = member.write(move |tx, by| roles::edit(tx, by, id, &name, permissions, &disable, &seen)).await;
    match saved {
        Ok(()) => done(&member.site, &member.frame, "Console role saved.", &member.url("/roles")),
        Err(MemberError::Changed) => edit_page(&member, &path.1, Some(form), true).await,
        Err(error) => {
            wrong(&member, &mut form, error)?;
            edit_page(&member, &path.1, Some(form), false).await
        }
    }
}

async fn delete_question(member: &Member, id: &str, form: &Form) -> WebResult {
    let (role, held, _) = find(member, id).await?;
    let (people, more) = losers(member, &role, Permissions::NONE).await?;
    let url = member.url(&format!("/roles/{}", role.id));
    let asked = Question {
        asks: format!("Delete the console role “{}”?", role.name),
        action: format!("{url}/delete"),
        submit: "Delete role".into(),
        danger: true,
        cancel: url,
        crumbs: to_roles(member),
        ..Question::default()
    };
    let may_disable = member.may(Permission::KeysRevokeAny);
    ask(&member.frame, &asked, form, &LosesKeys { deletes: true, held, hidden: Vec::new(), people, more, may_disable })
}

/// `GET /t/{tenant}/roles/{role}/delete`
pub async fn ask_delete(member: Member, path: Path<(String, String)>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    delete_question(&member, &path.1, &Form::default()).await
}

/// `POST /t/{tenant}/roles/{role}/delete`
pub async fn delete(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["disable*", "confirmed"])?;
    let (role, ..) = find(&member, &path.1).await?;
    let (id, disable) = (role.id, disabled(&form)?);
    let deleted: Result<(), MemberError> = member.write(move |tx, by| roles::delete(tx, by, id, &disable)).await;
    match deleted {
        Ok(()) => done(&member.site, &member.frame, "Console role deleted.", &member.url("/roles")),
        Err(error) => {
            wrong(&member, &mut form, error)?;
            delete_question(&member, &path.1, &form).await
        }
    }
}
