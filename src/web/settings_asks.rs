//! What a change of settings asks first: it says what would stop, or what somebody would lose, and how much of it.

use askama::Template;

use super::{
    error::WebError,
    form::Form,
    member::{KeyLine, key_lines},
    page::{Link, Question, WebResult, ask},
    session::Member,
};
use crate::{
    actions::roles,
    domain::{
        permission::BuiltIn,
        tenant::{Retention, Settings},
        time::days,
    },
    store::{StoreError, console_roles, events, keys, tenants, usage},
};

fn question(member: &Member, card: &str, asks: String, submit: &str) -> Question {
    Question {
        asks,
        action: member.url(&format!("/settings/{card}")),
        submit: submit.into(),
        danger: true,
        cancel: member.url("/settings"),
        crumbs: vec![Link::new("Settings", member.url("/settings"))],
        ..Question::default()
    }
}

/// The fields of a card that was sent, to be sent again.
fn kept(form: &Form, names: &[&'static str]) -> Vec<(&'static str, String)> {
    names.iter().chain(&["seen"]).filter(|name| form.checked(name)).map(|name| (*name, form.text(name).to_owned())).collect()
}

#[derive(Template)]
#[template(path = "settings/shorter_grace.html")]
struct ShorterGrace {
    stop: usize,
    days: u32,
    fields: Vec<(&'static str, String)>,
}

/// Asks where a shorter grace stops keys.
pub(super) async fn shorter_grace(member: &Member, form: &Form, after: &Settings) -> Result<Option<WebResult>, WebError> {
    let grace = after.grace_days;
    if grace >= member.acting.tenant.settings.grace_days {
        return Ok(None);
    }
    let (tenant, now) = (member.acting.tenant.clone(), member.by().now);
    let ends: Result<_, StoreError> = member.read(move |db, _| tenants::in_grace(db, &tenant, now)).await;
    let stop = ends?.into_iter().filter(|end| *end + days(grace.into()) <= now).count();
    if stop == 0 {
        return Ok(None);
    }
    let question = question(member, "life", format!("Shorten the grace to {grace} days?"), "Save expiry and roll");
    let fields = kept(form, &["grace", "notices", "extensions", "overlap", "keep"]);
    Ok(Some(ask(&member.frame, &question, &Form::default(), &ShorterGrace { stop, days: grace, fields })))
}

#[derive(Template)]
#[template(path = "settings/admins_lose.html")]
struct AdminsLose {
    fields: Vec<(&'static str, String)>,
    people: Vec<(String, Vec<KeyLine>)>,
    more: bool,
    locked: i64,
}

/// Asks where Tenant admins can own no more keys, or nobody can enable what admins disabled.
pub(super) async fn admins_lose(member: &Member, form: &Form, after: &Settings) -> Result<Option<WebResult>, WebError> {
    let before = &member.acting.tenant.settings;
    let stops_seeing = before.admins_see_all && !after.admins_see_all;
    if !stops_seeing && (!before.admins_manage_all || after.admins_manage_all) {
        return Ok(None);
    }
    let (tenant, now, left) = (member.acting.tenant.clone(), member.by().now, BuiltIn::TenantAdmin.permissions(after));
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let admin = console_roles::all(db, &tenant)?.into_iter().find(|role| role.built_in == Some(BuiltIn::TenantAdmin));
            let losers = admin.map(|role| roles::losing_keys(db, &tenant, &role, left)).transpose()?.unwrap_or_default();
            Ok((losers, if stops_seeing { keys::disabled_by_others(db, tenant.id)? } else { 0 }))
        })
        .await;
    let ((people, more), locked) = read?;
    if people.is_empty() && locked == 0 {
        return Ok(None);
    }
    let asks = if stops_seeing { "Hide the keys of others from Tenant admins?" } else { "Take managing keys from Tenant admins?" };
    let body = AdminsLose {
        fields: kept(form, &["see_all", "manage_all", "delete"]),
        people: people.iter().map(|(owner, keys)| (owner.name.clone(), key_lines(keys, now))).collect(),
        more,
        locked,
    };
    Ok(Some(ask(&member.frame, &question(member, "admins", asks.into(), "Save admins"), &Form::default(), &body)))
}

#[derive(Template)]
#[template(path = "settings/shorter_retention.html")]
struct ShorterRetention {
    fields: Vec<(&'static str, String)>,
    events: i64,
    usage: bool,
    after: Retention,
}

/// Asks where something that is kept now would go.
pub(super) async fn shorter_retention(member: &Member, form: &Form, after: &Settings) -> Result<Option<WebResult>, WebError> {
    let (before, after) = (member.acting.tenant.settings.retention, after.retention);
    if after.events >= before.events && after.usage >= before.usage {
        return Ok(None);
    }
    let (tenant, now) = (member.acting.tenant.id, member.by().now);
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let events = events::count_before(db, tenant, now - days(after.events.into()))?;
            Ok((events, usage::has_before(db, tenant, now - days(after.usage.into()))?))
        })
        .await;
    let (events, usage) = read?;
    if events == 0 && !usage {
        return Ok(None);
    }
    let question = question(member, "retention", "Keep less than now?".into(), "Save retention");
    let body = ShorterRetention { fields: kept(form, &["events", "usage"]), events, usage, after };
    Ok(Some(ask(&member.frame, &question, &Form::default(), &body)))
}
