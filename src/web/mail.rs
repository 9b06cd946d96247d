//! The Mail page of a tenant: what was sent, what waits, what failed and why.

use actix_web::web::{Path, Query};

use super::{
    error::WebError,
    form::Form,
    mail_views::{self as views, Desk, ListQuery},
    page::{WebResult, done},
    session::Member,
};
use crate::{
    actions::mail as facts,
    domain::{
        ids::MailId,
        mail::{Contents, useful},
        permission::Permission,
    },
    store::{
        StoreError, events,
        outbox::{self, Row},
    },
};

fn desk(member: &Member) -> Desk<'_> {
    Desk {
        site: &member.site,
        frame: &member.frame,
        url: member.url("/mail"),
        events: member.may(Permission::EventsRead),
        address: &member.acting.email,
        sees_keys: member.may(Permission::KeysReadAny),
    }
}

/// `GET /t/{tenant}/mail`
pub async fn list(member: Member, query: Query<ListQuery>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let (state, before) = (query.state(), query.before());
    let (now, secrets) = (member.site.clock.now(), member.site.secrets.clone());
    let found: Result<_, StoreError> = member
        .read(move |db, reach| {
            let rows = outbox::list(db, reach.tenant(), state, before, views::READ)?;
            views::listed(db, &secrets, rows, now)
        })
        .await;
    views::list(&desk(&member), &query, found?)
}

async fn find(member: &Member, id: i64) -> Result<(Row, Contents), WebError> {
    member.needs(Permission::SettingsManage)?;
    let (now, secrets) = (member.site.clock.now(), member.site.secrets.clone());
    let found: Result<_, StoreError> = member
        .read(move |db, reach| {
            let row = outbox::find(db, reach.tenant(), MailId(id))?;
            views::opened(db, &secrets, row, now)
        })
        .await;
    found?.ok_or(WebError::NotFound)
}

/// `GET /t/{tenant}/mail/{id}`
pub async fn one(member: Member, path: Path<(String, i64)>) -> WebResult {
    let (row, contents) = find(&member, path.1).await?;
    views::one(&desk(&member), &row, &contents)
}

/// `GET /t/{tenant}/mail/{id}/html`: the mail alone, for the frame.
pub async fn html(member: Member, path: Path<(String, i64)>) -> WebResult {
    let (row, contents) = find(&member, path.1).await?;
    views::html(&desk(&member), &row, &contents)
}

/// `POST /t/{tenant}/mail/{id}/send`
pub async fn send_again(member: Member, path: Path<(String, i64)>, mut form: Form) -> WebResult {
    form.only(&[])?;
    let (row, _) = find(&member, path.1).await?;
    if !useful(&row.mail, member.site.clock.now()) {
        return done(&member.site, &member.frame, views::RUN_OUT, &member.url("/mail"));
    }
    let (id, tenant) = (row.id, member.acting.tenant.id);
    let again: Result<bool, StoreError> = member
        .write(move |tx, by| {
            let again = outbox::send_again(tx, tenant, id)?;
            if again {
                let event = facts::sent_again(by, &row);
                events::add(tx, tenant, &event)?;
            }
            Ok(again)
        })
        .await;
    done(&member.site, &member.frame, views::sent_again(again?), &member.url("/mail"))
}
