//! Helping a member back into their account: a mailed link for a new password, and clearing lost two-step sign-in.

use actix_web::web::Path;
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    member::{after, crumbs, named},
    page::{Question, WebResult, ask},
    session::Member,
};
use crate::{
    actions::members::{self as change, MemberError},
    domain::{ids::MemberId, permission::Permission},
    store::{
        StoreError,
        members::{self, Owner},
    },
};

type At = Path<(String, String)>;

async fn person(member: &Member, id: MemberId) -> Result<Owner, WebError> {
    let tenant = member.acting.tenant.id;
    let found: Result<_, StoreError> = member.read(move |db, _| members::find(db, tenant, id)).await;
    found?.filter(|who| who.removed_at.is_none() && !who.is_service()).ok_or(WebError::NotFound)
}

fn question(member: &Member, who: &Owner, asks: String, end: &str, submit: &str) -> Question {
    let page_url = member.url(&format!("/members/{}", who.id));
    Question {
        asks,
        action: format!("{page_url}{end}"),
        submit: submit.into(),
        cancel: page_url,
        crumbs: crumbs(member, who.id, &who.name),
        ..Question::default()
    }
}

/// What taking two-step sign-in away means.
#[derive(Template)]
#[template(path = "members/clear_totp.html")]
pub(super) struct ClearTotp {
    pub(super) name: String,
}

/// What mailing a link for a new password means.
#[derive(Template)]
#[template(path = "members/reset.html")]
pub(super) struct Reset {
    pub(super) email: String,
}

/// `GET /t/{tenant}/members/{member}/totp`
pub async fn ask_clear_totp(member: Member, path: At) -> WebResult {
    member.needs(Permission::MembersManage)?;
    let who = person(&member, named(&path.1)?).await?;
    let asks = format!("Clear two-step sign-in of {}?", who.name);
    let question = Question { danger: true, ..question(&member, &who, asks, "/totp", "Clear two-step sign-in") };
    ask(&member.frame, &question, &Form::default(), &ClearTotp { name: who.name })
}

/// `POST /t/{tenant}/members/{member}/totp`
pub async fn clear_totp(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = named(&path.1)?;
    let cleared: Result<(), MemberError> = member.write(move |tx, by| change::clear_totp(tx, by, id)).await;
    after(&member, id, cleared, "Two-step sign-in cleared.", None).await
}

/// `GET /t/{tenant}/members/{member}/reset`
pub async fn ask_reset(member: Member, path: At) -> WebResult {
    member.needs(Permission::MembersManage)?;
    let who = person(&member, named(&path.1)?).await?;
    let question = question(&member, &who, format!("Mail {} a link for a new password?", who.name), "/reset", "Mail link");
    ask(&member.frame, &question, &Form::default(), &Reset { email: who.email })
}

/// `POST /t/{tenant}/members/{member}/reset`
pub async fn reset(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = named(&path.1)?;
    let started: Result<(), MemberError> = member.write(move |tx, by| change::start_reset(tx, by, id)).await;
    after(&member, id, started, "A link for a new password is on its way by mail.", None).await
}
