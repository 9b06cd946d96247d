//! Leaving a tenant: the person's keys there are revoked, and the page lists them first.

use actix_web::web::Path;
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_view,
    member_remove::{Tried, with_code},
    page::{Frame, Link, Question, WebResult, ask as question, done},
    session::Member,
};
use crate::{
    actions::{
        hand_over::{self, MOST_WITHOUT_CODE},
        keys::KeyError,
        members::MemberError,
    },
    domain::key::Key,
    store::StoreError,
};

#[derive(Template)]
#[template(path = "profile/leave.html")]
struct Leave<'a> {
    frame: &'a Frame,
    form: &'a Form,
    keys: Vec<(String, String, String)>,
    seen: String,
    needs_code: bool,
    changed: bool,
}

async fn keys(member: &Member) -> Result<Vec<Key>, WebError> {
    let (tenant, id) = (member.acting.tenant.id, member.acting.id);
    let read: Result<_, StoreError> = member.read(move |db, _| hand_over::keys_of(db, tenant, id)).await;
    Ok(read?)
}

fn show(member: &Member, keys: &[Key], form: &Form, changed: bool) -> WebResult {
    let name = &member.acting.tenant.name;
    let asked = Question {
        asks: format!("Leave {name}?"),
        action: format!("/profile/tenants/{}/leave", member.acting.tenant.slug),
        submit: "Leave tenant".into(),
        danger: true,
        cancel: member.frame.profile.clone(),
        crumbs: vec![Link::new("Profile", member.frame.profile.clone())],
        ..Question::default()
    };
    let now = member.by().now;
    let body = Leave {
        frame: &member.frame,
        form,
        keys: keys.iter().map(|key| (key.id.to_string(), key.name.to_string(), key_view::last_used(key.last_used.as_ref(), now).0)).collect(),
        seen: hand_over::mark_of(keys),
        needs_code: keys.len() > MOST_WITHOUT_CODE,
        changed,
    };
    question(&member.frame, &asked, form, &body)
}

/// `GET /profile/tenants/{tenant}/leave`
pub async fn ask(member: Member) -> WebResult {
    let keys = keys(&member).await?;
    show(&member, &keys, &Form::default(), false)
}

/// `POST /profile/tenants/{tenant}/leave`
pub async fn leave(member: Member, _tenant: Path<String>, mut form: Form) -> WebResult {
    form.only(&["seen", "totp"])?;
    let seen = form.text("seen").to_owned();
    let now = keys(&member).await?;
    let needs_code = now.len() > MOST_WITHOUT_CODE;
    if needs_code && form.text("totp").trim().is_empty() {
        form.wrong("totp", KeyError::NeedsCode);
        return show(&member, &now, &form, false);
    }
    match with_code(&member, &form, needs_code, move |tx, by, proof| hand_over::leave(tx, by, &seen, proof)).await? {
        Tried::Done => done(&member.site, &member.frame, &format!("You left {}.", member.acting.tenant.name), "/profile"),
        Tried::WrongCode(words) => {
            form.wrong("totp", words);
            show(&member, &now, &form, false)
        }
        Tried::Refused(error @ (MemberError::Undecided | MemberError::Key(KeyError::NeedsCode))) => {
            form.wrong("", error);
            show(&member, &keys(&member).await?, &form, true)
        }
        Tried::Refused(error) => {
            form.wrong("", error);
            show(&member, &now, &form, false)
        }
    }
}
