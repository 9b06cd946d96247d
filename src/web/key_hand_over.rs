//! Handing one key over to another owner: choose whom, see what the key loses, confirm.

use actix_web::{HttpRequest, http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_edit::seen,
    key_facts::{self, KeyFacts},
    key_refused,
    member_remove::{Candidate, Change, losses, mark},
    page::{Frame, Link, Question, WebResult, ask_as, done, show_as, status_of},
    session::Member,
};
use crate::{
    actions::{
        hand_over::{self, Moved},
        keys::KeyError,
        members::MemberError,
    },
    domain::{change, ids::MemberId, permission::Permission},
    store::{
        StoreError, console_roles,
        members::{self, Owner},
    },
};

/// How many possible owners are offered at once.
const OFFERED: i64 = 50;

type Where = Path<(String, String)>;

#[derive(Template)]
#[template(path = "keys/hand_over.html")]
struct ChoosePage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    url: String,
    name: String,
    owner: String,
    seen: i64,
    candidates: Vec<Candidate>,
    is_short: bool,
}

async fn choose(member: &Member, facts: &KeyFacts, form: Form) -> WebResult {
    let (tenant, owner, text) = (member.acting.tenant.clone(), facts.owner.id, form.text("q").trim().to_owned());
    let read: Result<_, StoreError> = member.read(move |db, _| console_roles::possible_owners(db, &tenant, owner, &text, OFFERED + 1)).await;
    let mut list: Vec<Candidate> = read?.iter().map(Candidate::new).collect();
    let most = usize::try_from(OFFERED).unwrap_or_default();
    let page = ChoosePage {
        frame: member.frame.clone(),
        crumbs: key_refused::crumbs(member, facts),
        url: facts.url(member, "/hand-over"),
        name: facts.key.name.to_string(),
        owner: facts.owner.name.clone(),
        seen: facts.key.version,
        is_short: list.len() > most,
        candidates: {
            list.truncate(most);
            list
        },
        form,
    };
    show_as(status_of(&page.form), &page)
}

async fn found(member: &Member, id: &str) -> Result<KeyFacts, WebError> {
    member.needs(Permission::MembersManage)?;
    key_facts::find(member, id).await
}

/// `GET /t/{tenant}/keys/{key}/hand-over`
pub async fn ask(member: Member, path: Where, req: HttpRequest) -> WebResult {
    let mut query = Form::from_query(&req)?;
    query.only(&["q"])?;
    let facts = found(&member, &path.1).await?;
    if let Err(refused) = change::may_change(&facts.key) {
        return key_refused::by_state(&member, &facts, &refused.to_string());
    }
    choose(&member, &facts, query).await
}

#[derive(Template)]
#[template(path = "keys/ask/hand_over.html")]
struct LastBody {
    changed: bool,
    from: String,
    change: Change,
    keeps: Vec<String>,
    to: MemberId,
    mark: String,
    seen: i64,
    url: String,
}

fn last(member: &Member, facts: &KeyFacts, owner: &Owner, moved: &Moved, form: &Form, changed: bool) -> WebResult {
    let change = said(facts, owner, moved);
    let question = Question {
        asks: format!("Hand over “{}” to {}?", facts.key.name, owner.name),
        action: facts.url(member, "/hand-over"),
        submit: "Hand over key".into(),
        danger: false,
        cancel: facts.url(member, ""),
        crumbs: key_refused::crumbs(member, facts),
        wide: false,
    };
    let body = LastBody {
        changed,
        from: facts.owner.name.clone(),
        mark: mark(std::slice::from_ref(&change)),
        change,
        keeps: moved.scopes.iter().map(ToString::to_string).collect(),
        to: owner.id,
        seen: facts.key.version,
        url: facts.url(member, "/hand-over"),
    };
    ask_as(if changed { StatusCode::CONFLICT } else { status_of(form) }, &member.frame, &question, form, &body)
}

fn said(facts: &KeyFacts, owner: &Owner, moved: &Moved) -> Change {
    Change { id: facts.key.id.to_string(), name: facts.key.name.to_string(), to: owner.name.clone(), loses: losses(moved) }
}

/// `POST /t/{tenant}/keys/{key}/hand-over`: shows what the key loses, and acts once that was seen.
pub async fn hand_over(member: Member, path: Where, mut form: Form) -> WebResult {
    form.only(&["to", "q", "find", "seen", "confirmed"])?;
    let facts = found(&member, &path.1).await?;
    if let Err(refused) = change::may_change(&facts.key) {
        return key_refused::by_state(&member, &facts, &refused.to_string());
    }
    if form.checked("find") {
        return choose(&member, &facts, form).await;
    }
    let version = seen(&form)?;
    let Ok(to) = form.text("to").parse::<MemberId>() else {
        form.wrong("to", "Choose who gets the key.");
        return choose(&member, &facts, form).await;
    };
    let (tenant, key) = (member.acting.tenant.id, facts.key.clone());
    let read: Result<_, StoreError> = member
        .read(move |db, _| match members::find(db, tenant, to)?.filter(|owner| owner.is_active() && owner.id != key.owner) {
            Some(owner) => Ok(Some((hand_over::moved(db, &key, to)?, owner))),
            None => Ok(None),
        })
        .await;
    let Some((moved, owner)) = read? else {
        form.wrong("to", MemberError::NoOwner);
        return choose(&member, &facts, form).await;
    };
    if version != facts.key.version || (form.checked("confirmed") && form.text("confirmed") != mark(&[said(&facts, &owner, &moved)])) {
        return last(&member, &facts, &owner, &moved, &form, true);
    }
    if !form.checked("confirmed") {
        return last(&member, &facts, &owner, &moved, &form, false);
    }
    let id = facts.key.id;
    let handed: Result<_, MemberError> = member.write(move |tx, by| hand_over::hand_over(tx, by, id, version, to)).await;
    match handed {
        Ok(_) => {
            let words = format!("Key handed over to {}. Roll it: whoever had the secret still has it.", owner.name);
            let sees = member.acting.reach().owners().is_none_or(|owners| owners.contains(&to.0));
            let url = if sees { facts.url(&member, "") } else { key_refused::list_link(&member).url };
            done(&member.site, &member.frame, &words, &url)
        }
        Err(MemberError::Key(KeyError::Changed)) => {
            let facts = found(&member, &path.1).await?;
            last(&member, &facts, &owner, &moved, &form, true)
        }
        Err(MemberError::Key(error)) => key_refused::by_action(&member, &facts, error),
        Err(MemberError::Store(error)) => Err(error.into()),
        Err(MemberError::NotAllowed) => Err(member.forbidden(Permission::MembersManage)),
        Err(error) => {
            form.wrong("to", error);
            choose(&member, &facts, form).await
        }
    }
}
