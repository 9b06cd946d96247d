//! The installation's Mail page, for its owner: the mails that belong to no tenant, such as the owner's own, which no tenant's Mail
//! page shows.

use actix_web::web::{Path, Query};

use super::{
    error::WebError,
    form::Form,
    mail_views::{self as views, Desk, ListQuery},
    page::{WebResult, done},
    session::Owner,
};
use crate::{
    actions::installation as actions,
    domain::{
        ids::MailId,
        mail::{Contents, useful},
    },
    store::{
        StoreError,
        outbox::{self, Row},
    },
};

/// The list.
pub const MAIL: &str = "/installation/mail";

fn desk(owner: &Owner) -> Desk<'_> {
    Desk { site: &owner.site, frame: &owner.frame, url: MAIL.into(), events: false, address: "", sees_keys: false }
}

/// `GET /installation/mail`
pub async fn list(owner: Owner, query: Query<ListQuery>) -> WebResult {
    let (state, before) = (query.state(), query.before());
    let (now, secrets) = (owner.site.clock.now(), owner.site.secrets.clone());
    let found: Result<_, StoreError> = owner
        .read(move |db, reach| {
            let rows = outbox::list_of_installation(db, reach, state, before, views::READ)?;
            views::listed(db, &secrets, rows, now)
        })
        .await;
    views::list(&desk(&owner), &query, found?)
}

async fn find(owner: &Owner, id: i64) -> Result<(Row, Contents), WebError> {
    let (now, secrets) = (owner.site.clock.now(), owner.site.secrets.clone());
    let found: Result<_, StoreError> = owner
        .read(move |db, reach| {
            let row = outbox::find_of_installation(db, reach, MailId(id))?;
            views::opened(db, &secrets, row, now)
        })
        .await;
    found?.ok_or(WebError::NotFound)
}

/// `GET /installation/mail/{id}`
pub async fn one(owner: Owner, id: Path<i64>) -> WebResult {
    let (row, contents) = find(&owner, *id).await?;
    views::one(&desk(&owner), &row, &contents)
}

/// `GET /installation/mail/{id}/html`: the mail alone, for the frame.
pub async fn html(owner: Owner, id: Path<i64>) -> WebResult {
    let (row, contents) = find(&owner, *id).await?;
    views::html(&desk(&owner), &row, &contents)
}

/// `POST /installation/mail/{id}/send`
pub async fn send_again(owner: Owner, id: Path<i64>, mut form: Form) -> WebResult {
    form.only(&[])?;
    let (row, _) = find(&owner, *id).await?;
    if !useful(&row.mail, owner.by().now) {
        return done(&owner.site, &owner.frame, views::RUN_OUT, MAIL);
    }
    let again = owner.write(move |tx, by| actions::send_again(tx, by, &row)).await.map_err(|error| match error {
        actions::TenantError::Store(error) => WebError::from(error),
        _ => WebError::NotFound,
    })?;
    done(&owner.site, &owner.frame, views::sent_again(again), MAIL)
}
