//! People who cannot sign in, for the installation owner: found by their exact address, then mailed a link for a new password, or rid
//! of lost two-step sign-in.

use actix_web::{HttpRequest, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    member_help::{ClearTotp, Reset},
    page::{Frame, Link, Question, WebResult, ask, done, show_as, status_of},
    session::Owner,
};
use crate::{
    actions::locked_out::{self, LockedOutError},
    domain::{ids::AccountId, names::EmailAddress},
    store::{StoreError, accounts::Account, installation as store},
};

/// Where people are found.
const PEOPLE: &str = "/installation/people";

#[derive(Template)]
#[template(path = "installation/people.html")]
struct PeoplePage {
    frame: Frame,
    form: Form,
    found: Option<Person>,
}

struct Person {
    url: String,
    name: String,
    email: String,
    tenants: usize,
    has_totp: bool,
    /// An installation owner is helped on the server alone.
    is_owner: bool,
}

fn page(owner: &Owner, form: Form, found: Option<(Account, usize)>) -> WebResult {
    let found = found.map(|(account, tenants)| Person {
        url: format!("{PEOPLE}/{}", account.id),
        tenants,
        has_totp: account.has_totp(),
        is_owner: account.installation_owner,
        name: account.name,
        email: account.email,
    });
    let page = PeoplePage { frame: owner.frame.clone(), form, found };
    show_as(status_of(&page.form), &page)
}

/// `GET /installation/people`, with `?email=` for one of them.
pub async fn list(owner: Owner, req: HttpRequest) -> WebResult {
    let mut form = Form::from_query(&req)?;
    form.only(&["email"])?;
    if form.text("email").trim().is_empty() {
        return page(&owner, form, None);
    }
    let Some(email) = form.parse("email", str::parse::<EmailAddress>) else { return page(&owner, form, None) };
    let found: Result<_, StoreError> = owner.read(move |db, reach| store::account_by_email(db, reach, &email.canonical())).await;
    let found = found?;
    if found.is_none() {
        form.wrong("email", "There is no account with this address.");
    }
    page(&owner, form, found)
}

async fn account(owner: &Owner, id: &str) -> Result<Account, WebError> {
    let id = named(id)?;
    let found: Result<_, StoreError> = owner.read(move |db, reach| store::account(db, reach, id)).await;
    found?.ok_or(WebError::NotFound)
}

fn named(id: &str) -> Result<AccountId, WebError> {
    id.parse().map(AccountId).map_err(|_| WebError::NotFound)
}

fn question(account: &Account, asks: String, end: &str, submit: &str) -> Question {
    Question {
        asks,
        action: format!("{PEOPLE}/{}{end}", account.id),
        submit: submit.into(),
        cancel: PEOPLE.into(),
        crumbs: vec![Link::new("People", PEOPLE)],
        ..Question::default()
    }
}

fn totp_question(owner: &Owner, account: Account, form: &Form) -> WebResult {
    let asks = format!("Clear two-step sign-in of {}?", account.name);
    let question = Question { danger: true, ..question(&account, asks, "/totp", "Clear two-step sign-in") };
    ask(&owner.frame, &question, form, &ClearTotp { name: account.name })
}

fn reset_question(owner: &Owner, account: Account, form: &Form) -> WebResult {
    let question = question(&account, format!("Mail {} a link for a new password?", account.name), "/reset", "Mail link");
    ask(&owner.frame, &question, form, &Reset { email: account.email })
}

/// `GET /installation/people/{account}/totp`
pub async fn ask_clear_totp(owner: Owner, id: Path<String>) -> WebResult {
    let account = account(&owner, &id).await?;
    totp_question(&owner, account, &Form::default())
}

/// `POST /installation/people/{account}/totp`
pub async fn clear_totp(owner: Owner, id: Path<String>, mut form: Form) -> WebResult {
    form.only(&[])?;
    let account_id = named(&id)?;
    match owner.write(move |tx, by| locked_out::clear_totp_of(tx, by, account_id)).await {
        Ok(cleared) => done(&owner.site, &owner.frame, &format!("Two-step sign-in of {} is cleared.", cleared.name), PEOPLE),
        Err(error) => {
            form.wrong("", refused(error)?);
            totp_question(&owner, account(&owner, &id).await?, &form)
        }
    }
}

/// `GET /installation/people/{account}/reset`
pub async fn ask_reset(owner: Owner, id: Path<String>) -> WebResult {
    let account = account(&owner, &id).await?;
    reset_question(&owner, account, &Form::default())
}

/// `POST /installation/people/{account}/reset`
pub async fn reset(owner: Owner, id: Path<String>, mut form: Form) -> WebResult {
    form.only(&[])?;
    let account_id = named(&id)?;
    match owner.write(move |tx, by| locked_out::mail_reset_of(tx, by, account_id)).await {
        Ok(helped) => done(&owner.site, &owner.frame, &format!("A link for a new password is on its way to {}.", helped.email), PEOPLE),
        Err(error) => {
            form.wrong("", refused(error)?);
            reset_question(&owner, account(&owner, &id).await?, &form)
        }
    }
}

fn refused(error: LockedOutError) -> Result<String, WebError> {
    match error {
        LockedOutError::Store(error) => Err(error.into()),
        LockedOutError::NoAccount | LockedOutError::NotAllowed => Err(WebError::NotFound),
        other => Ok(other.to_string()),
    }
}
