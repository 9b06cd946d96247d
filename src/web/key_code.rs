//! Doing something to a key that may ask for a code from the authenticator app, and the one-time IDs of forms.

use super::{error::WebError, form::Form, session::Member};
use crate::{
    actions::{
        By, CodeProof,
        credentials::{self, CodeError},
        keys::KeyError,
    },
    store::{StoreError, Tx, form_ids},
};

/// How it came out.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// The code was wrong; nothing was done. The words say what next.
    WrongCode(String),
    /// The action refused it; nothing was done.
    Refused(KeyError),
}

/// The one-time ID of a form.
///
/// # Errors
/// 400 where it is none.
pub fn form_id(form: &Form) -> Result<String, WebError> {
    let id = form.text("form_id");
    if (16..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(id.to_owned())
    } else {
        Err(WebError::BadRequest("The form is not whole. Nothing was changed. Reload the page and try again.".into()))
    }
}

/// The ID of the key that a form with this ID made before.
///
/// # Errors
/// The database is away.
pub async fn made_before(member: &Member, form_id: &str) -> Result<Option<String>, WebError> {
    let (account, id) = (member.account.id, form_id.to_owned());
    let made: Result<_, StoreError> = member.read(move |db, _| form_ids::result(db, account, &id)).await;
    Ok(made?)
}

/// Does something in one transaction, with a code where one is needed. A wrong code is counted, and nothing else is done; a
/// code is used up only by what it was given for.
///
/// # Errors
/// The database is away, or the wrong codes ended the session.
pub async fn act<T: Send + 'static>(
    member: &Member,
    form: &Form,
    needs_code: bool,
    action: impl FnOnce(&mut Tx<'_>, &By, Option<&CodeProof>) -> Result<T, KeyError> + Send + 'static,
) -> Result<Outcome<T>, WebError> {
    let code = form.text("totp").to_owned();
    let done: Result<Result<T, CodeError>, KeyError> = member
        .write(move |tx, by| {
            if !needs_code || code.trim().is_empty() {
                return action(tx, by, None).map(Ok);
            }
            match credentials::confirm_code(tx, by, &code)? {
                Ok(proof) => action(tx, by, Some(&proof)).map(Ok),
                Err(wrong) => Ok(Err(wrong)),
            }
        })
        .await;
    match done {
        Ok(Ok(value)) => Ok(Outcome::Done(value)),
        Ok(Err(CodeError::Ended)) => Err(WebError::SignIn),
        Ok(Err(wrong)) => Ok(Outcome::WrongCode(wrong.to_string())),
        Err(KeyError::Store(error)) => Err(error.into()),
        Err(error) => Ok(Outcome::Refused(error)),
    }
}
