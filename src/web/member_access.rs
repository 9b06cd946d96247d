//! What a member and their keys may do with the tenant's API: access roles and resources.

use actix_web::{http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    member::{crumbs, named},
    member_fields::{RESOURCES, Tick, access_ticks, asks_offer, read_access_roles, read_resources, resources},
    page::{Frame, Link, WebResult, done, show_as, status_of},
    picker::Resources,
    session::Member,
};
use crate::{
    actions::access::{AccessError, set_member_access},
    domain::{access::ResourceSet, ids::MemberId, permission::Permission},
    store::{StoreError, access, members},
};

type At = Path<(String, String)>;

#[derive(Template)]
#[template(path = "members/access.html")]
struct AccessPage {
    frame: Frame,
    form: Form,
    back: String,
    crumbs: Vec<Link>,
    name: String,
    action: String,
    access: Vec<Tick>,
    resources: Resources,
    newer: Vec<(&'static str, String)>,
    keys: i64,
}

/// The form, filled in with what the member holds.
fn access_form(held: &access::Held) -> Form {
    let mut form = Form::default();
    form.set_all("access", held.roles.iter().map(ToString::to_string));
    form.set("resources", if held.resources == ResourceSet::All { "all" } else { "chosen" });
    form.set_all("resource", held.resources.chosen().into_iter().flatten().map(ToString::to_string));
    form
}

/// The form; where `changed`, with what the member holds now.
async fn access_page(member: &Member, id: MemberId, sent: Option<Form>, changed: bool) -> WebResult {
    let tenant = member.acting.tenant.id;
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let Some(who) = members::find(db, tenant, id)?.filter(|who| who.removed_at.is_none()) else { return Ok(None) };
            let held = access::held_by(db, tenant, id)?;
            let form = sent.unwrap_or_else(|| access_form(&held));
            let count = crate::store::keys::count_for_limit(db, tenant, id)?;
            Ok(Some((who, held, access::roles(db, tenant)?, resources(db, tenant, &form)?, form, count)))
        })
        .await;
    let (who, held, roles, resources, mut form, keys) = read?.ok_or(WebError::NotFound)?;
    if changed || !form.checked("seen") {
        form.set("seen", held.mark());
    }
    let newer = if changed {
        let or_none = |names: Vec<String>| if names.is_empty() { "None".to_owned() } else { names.join(", ") };
        let names = roles.iter().filter(|role| held.roles.contains(&role.id)).map(|role| role.name.clone()).collect();
        let all = held.resources.chosen().map(|patterns| patterns.iter().map(ToString::to_string).collect());
        vec![("Access roles", or_none(names)), ("Resources", all.map_or_else(|| "All".to_owned(), or_none))]
    } else {
        Vec::new()
    };
    let url = member.url(&format!("/members/{id}"));
    let manages = member.may(Permission::MembersManage);
    let page = AccessPage {
        frame: member.frame.clone(),
        crumbs: if manages { crumbs(member, id, &who.name) } else { vec![Link::new("Access", member.url("/access"))] },
        back: if manages { url.clone() } else { member.url("/access") },
        action: format!("{url}/access"),
        name: who.name,
        access: access_ticks(&roles),
        resources,
        newer,
        keys,
        form,
    };
    show_as(if changed { StatusCode::CONFLICT } else { status_of(&page.form) }, &page)
}

/// `GET /t/{tenant}/members/{member}/access`
pub async fn ask_access(member: Member, path: At) -> WebResult {
    member.needs(Permission::AccessManage)?;
    access_page(&member, named(&path.1)?, None, false).await
}

/// `POST /t/{tenant}/members/{member}/access`
pub async fn set_access(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::AccessManage)?;
    let known: Vec<&str> = RESOURCES.into_iter().chain(["access*", "seen"]).collect();
    form.only(&known)?;
    let id = named(&path.1)?;
    if asks_offer(&form) {
        return access_page(&member, id, Some(form), false).await;
    }
    let roles = read_access_roles(&mut form);
    let resources = read_resources(&mut form);
    let (Some(roles), Some(resources)) = (roles, resources) else { return access_page(&member, id, Some(form), false).await };
    let seen = form.text("seen").to_owned();
    let saved: Result<_, AccessError> =
        member.write(move |tx, by| set_member_access(tx, by, id, &roles.into_iter().collect(), &resources, &seen)).await;
    match saved {
        Ok(_) => {
            let back = if member.may(Permission::MembersManage) { "" } else { "/access" };
            done(&member.site, &member.frame, "Access saved.", &member.url(&format!("/members/{id}{back}")))
        }
        Err(AccessError::Store(error)) => Err(error.into()),
        Err(AccessError::NotFound) => Err(WebError::NotFound),
        Err(AccessError::Changed) => access_page(&member, id, Some(form), true).await,
        Err(error) => {
            form.wrong(if matches!(error, AccessError::NoSuchResource(_)) { "chosen" } else { "access" }, error);
            access_page(&member, id, Some(form), false).await
        }
    }
}
