//! Removing a member, and leaving: what becomes of each key is decided first, and nothing is revoked in silence.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use actix_web::web::Path;
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_view::{self, StatusView},
    member::{crumbs, named},
    members::refused,
    page::{Frame, Link, WebResult, done, show_as, status_of},
    session::Member,
};
use crate::{
    actions::{
        By, CodeProof,
        credentials::{self, CodeError},
        hand_over::{self, Fate, MOST_WITHOUT_CODE, Moved},
        keys::KeyError,
        members::MemberError,
    },
    domain::{
        ids::{KeyId, MemberId},
        key::Key,
        permission::Permission,
    },
    store::{
        StoreError, Tx, console_roles,
        members::{self, Owner},
    },
};

/// How many possible owners are offered at once; with many keys fewer, for the sake of the page's weight.
const OFFERED: (i64, i64) = (50, 12);
/// From how many keys on the shorter list is offered.
const MANY_KEYS: usize = 20;

/// For how many keys, the newest first, a fate of their own can be chosen on the page; the others go as chosen for all.
const OWN_FATES: usize = 200;

/// Somebody who could get a key.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub id: String,
    pub label: String,
}

impl Candidate {
    pub(super) fn new(owner: &Owner) -> Self {
        let more = if owner.is_service() { "service account".to_owned() } else { owner.email.clone() };
        Self { id: owner.id.to_string(), label: format!("{} ({more})", owner.name) }
    }
}

struct Line {
    id: String,
    name: String,
    /// Empty where the key is out of reach.
    url: String,
    status: Option<StatusView>,
    used: String,
    ip: String,
    fate: String,
    /// Whether a fate of its own can be chosen here.
    own: bool,
}

#[derive(Template)]
#[template(path = "members/remove.html")]
struct RemovePage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    url: String,
    name: String,
    tenant: String,
    service: bool,
    keys: Vec<Line>,
    candidates: Vec<Candidate>,
    is_short: bool,
    may_need_code: bool,
    seen: String,
    own_fates: usize,
}

struct Loaded {
    who: Owner,
    keys: Vec<Key>,
    candidates: Vec<Owner>,
    is_short: bool,
}

/// Reads the keys, and who could get them: those who match `text`, and those chosen already.
async fn load(member: &Member, id: MemberId, text: &str, chosen: Vec<MemberId>) -> Result<Loaded, WebError> {
    let (tenant, text) = (member.acting.tenant.clone(), text.trim().to_owned());
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let Some(who) = members::find(db, tenant.id, id)?.filter(|who| who.removed_at.is_none()) else { return Ok(None) };
            let keys = hand_over::keys_of(db, tenant.id, id)?;
            let most = if keys.len() > MANY_KEYS { OFFERED.1 } else { OFFERED.0 };
            let mut candidates = if keys.is_empty() { Vec::new() } else { console_roles::possible_owners(db, &tenant, id, &text, most + 1)? };
            let is_short = candidates.len() > usize::try_from(most).unwrap_or_default();
            candidates.truncate(usize::try_from(most).unwrap_or_default());
            let missing: Vec<MemberId> = chosen.into_iter().filter(|id| !candidates.iter().any(|other| other.id == *id)).collect();
            candidates.extend(members::find_many(db, tenant.id, &missing)?.into_iter().filter(Owner::is_active));
            Ok(Some(Loaded { who, keys, candidates, is_short }))
        })
        .await;
    read?.ok_or(WebError::NotFound)
}

/// What was chosen: a key each, and the word of its own select.
fn chosen(form: &Form) -> Result<Vec<(KeyId, String)>, WebError> {
    let ids: Option<Vec<KeyId>> = form.all("key").map(KeyId::parse).collect();
    let ids = ids.ok_or(WebError::NotFound)?;
    let fates: Vec<String> = form.all("fate").map(str::to_owned).collect();
    if ids.len() == fates.len() {
        Ok(ids.into_iter().zip(fates).collect())
    } else {
        Err(WebError::BadRequest("The form is not whole. Nothing was changed.".into()))
    }
}

fn fate(word: &str) -> Option<Fate> {
    if word == "revoke" { Some(Fate::Revoke) } else { word.parse().ok().map(|id| Fate::HandOver(MemberId(id))) }
}

async fn page(member: &Member, id: MemberId, form: Form) -> WebResult {
    let words = chosen(&form).unwrap_or_default();
    let wanted = words.iter().map(|(_, word)| word.as_str()).chain([form.text("all")]).filter_map(|word| match fate(word) {
        Some(Fate::HandOver(to)) => Some(to),
        _ => None,
    });
    let loaded = load(member, id, form.text("q"), wanted.collect()).await?;
    let now = member.by().now;
    let reach = member.acting.reach();
    let sees = reach.owners().is_none_or(|owners| owners.contains(&id.0));
    let active = loaded.who.is_active();
    let keys = loaded
        .keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let (used, ip) = key_view::last_used(key.last_used.as_ref(), now);
            Line {
                id: key.id.to_string(),
                name: key.name.to_string(),
                url: if sees { member.url(&format!("/keys/{}", key.id)) } else { String::new() },
                status: sees.then(|| key_view::status(&key.life, &member.acting.tenant, active, now)),
                used,
                ip: if sees { ip } else { String::new() },
                fate: words.iter().find(|(other, _)| *other == key.id).map(|(_, word)| word.clone()).unwrap_or_default(),
                own: at < OWN_FATES,
            }
        })
        .collect();
    let page = RemovePage {
        frame: member.frame.clone(),
        crumbs: crumbs(member, id, &loaded.who.name),
        url: member.url(&format!("/members/{id}")),
        name: loaded.who.name.clone(),
        tenant: member.acting.tenant.name.clone(),
        service: loaded.who.is_service(),
        may_need_code: loaded.keys.len() > MOST_WITHOUT_CODE,
        seen: hand_over::mark_of(&loaded.keys),
        own_fates: OWN_FATES,
        candidates: loaded.candidates.iter().map(Candidate::new).collect(),
        is_short: loaded.is_short,
        keys,
        form,
    };
    show_as(status_of(&page.form), &page)
}

/// `GET /t/{tenant}/members/{member}/remove`
pub async fn ask(member: Member, path: Path<(String, String)>) -> WebResult {
    member.needs(Permission::MembersManage)?;
    page(&member, named(&path.1)?, Form::default()).await
}

/// A key with what it loses, in words.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub id: String,
    pub name: String,
    pub to: String,
    pub loses: Vec<String>,
}

/// What a key loses with its new owner.
pub(super) fn losses(moved: &Moved) -> Vec<String> {
    let mut words: Vec<String> = moved.lost.iter().chain(&moved.reserved).map(ToString::to_string).collect();
    if moved.fewer_resources {
        words.push(match moved.resources.chosen() {
            Some(left) if left.is_empty() => "every resource".into(),
            Some(left) => format!("every resource but {}", left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            None => String::new(),
        });
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A mark of what a page showed, so that it is shown again where it has changed.
pub(super) fn mark(changes: &[Change]) -> String {
    let mut hasher = DefaultHasher::new();
    for change in changes {
        (&change.id, &change.to, &change.loses).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

#[derive(Template)]
#[template(path = "members/remove_last.html")]
struct LastPage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    url: String,
    name: String,
    hidden: Vec<(String, String)>,
    all: String,
    seen: String,
    handed: Vec<Change>,
    revoked: Vec<(String, String)>,
    mark: String,
    needs_code: bool,
}

/// `POST /t/{tenant}/members/{member}/remove`
pub async fn remove(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&["key*", "fate*", "all", "seen", "q", "find", "confirmed", "totp"])?;
    let id = named(&path.1)?;
    let words = chosen(&form)?;
    if form.checked("find") {
        return page(&member, id, form).await;
    }
    let loaded = load(&member, id, "", Vec::new()).await?;
    let mut decided = Vec::new();
    for (at, key) in loaded.keys.iter().enumerate() {
        let own = words.iter().find(|(other, _)| *other == key.id).map_or("", |(_, word)| word);
        match fate(if own.is_empty() { form.text("all") } else { own }) {
            Some(fate) => decided.push((key.id, fate)),
            None if at == OWN_FATES => form.wrong("all", "Choose what happens to the keys that have no choice of their own."),
            None if at > OWN_FATES => {}
            None => form.wrong(&format!("fate-{}", key.id), format!("Choose what happens to “{}”.", key.name)),
        }
    }
    if !form.has_errors() && !loaded.keys.is_empty() && form.text("seen") != hand_over::mark_of(&loaded.keys) {
        form.wrong("", MemberError::Undecided);
    }
    if form.has_errors() {
        return page(&member, id, form).await;
    }
    let handed = changes(&member, &loaded.keys, &decided).await?;
    let Some(handed) = handed else {
        form.wrong("all", MemberError::NoOwner);
        return page(&member, id, form).await;
    };
    let revoked = decided.iter().filter(|(_, fate)| *fate == Fate::Revoke).count();
    let needs_code = revoked > MOST_WITHOUT_CODE;
    let seen = mark(&handed);
    if (!handed.is_empty() || needs_code) && form.text("confirmed") != seen {
        return last(&member, id, Form::filled([("all", form.text("all").to_owned())]), &loaded, &decided, handed, needs_code);
    }
    if needs_code && form.text("totp").trim().is_empty() {
        form.wrong("totp", KeyError::NeedsCode);
        return last(&member, id, form, &loaded, &decided, handed, needs_code);
    }
    let fates = decided.clone();
    match with_code(&member, &form, needs_code, move |tx, by, proof| hand_over::remove(tx, by, id, &fates, proof)).await? {
        Tried::Done if id == member.acting.id => done(&member.site, &member.frame, "You left the tenant.", "/profile"),
        Tried::Done => {
            let words = if loaded.who.is_service() { "Service account removed." } else { "Member removed." };
            done(&member.site, &member.frame, words, &member.url("/members"))
        }
        Tried::WrongCode(words) => {
            form.wrong("totp", words);
            last(&member, id, form, &loaded, &decided, handed, needs_code)
        }
        Tried::Refused(error) => {
            let words = refused(&member, error)?;
            form.wrong("", words);
            page(&member, id, form).await
        }
    }
}

/// What each key that is handed over loses; `None` where its new owner is none of the tenant.
async fn changes(member: &Member, keys: &[Key], decided: &[(KeyId, Fate)]) -> Result<Option<Vec<Change>>, WebError> {
    let moves: Vec<(Key, MemberId)> = keys
        .iter()
        .filter_map(|key| match decided.iter().find(|(id, _)| *id == key.id) {
            Some((_, Fate::HandOver(to))) => Some((key.clone(), *to)),
            _ => None,
        })
        .collect();
    let tenant = member.acting.tenant.id;
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let mut list = Vec::new();
            for (key, to) in moves {
                let Some(owner) = members::find(db, tenant, to)?.filter(Owner::is_active) else { return Ok(None) };
                let loses = losses(&hand_over::moved(db, &key, to)?);
                list.push(Change { id: key.id.to_string(), name: key.name.to_string(), to: owner.name, loses });
            }
            Ok(Some(list))
        })
        .await;
    Ok(read?)
}

/// Says once more what happens, with what each key loses.
fn last(member: &Member, id: MemberId, form: Form, loaded: &Loaded, decided: &[(KeyId, Fate)], handed: Vec<Change>, needs_code: bool) -> WebResult {
    let now = member.by().now;
    let is_revoked = |key: &&Key| decided.contains(&(key.id, Fate::Revoke));
    let word = |fate: &Fate| match fate {
        Fate::Revoke => "revoke".to_owned(),
        Fate::HandOver(to) => to.to_string(),
    };
    // What goes as all do is not named again: a form holds so many fields and no more.
    let hidden = decided.iter().map(|(key, fate)| (key.to_string(), word(fate))).filter(|(_, word)| word != form.text("all"));
    let page = LastPage {
        frame: member.frame.clone(),
        crumbs: crumbs(member, id, &loaded.who.name),
        url: member.url(&format!("/members/{id}")),
        name: loaded.who.name.clone(),
        hidden: hidden.collect(),
        all: form.text("all").to_owned(),
        seen: hand_over::mark_of(&loaded.keys),
        mark: mark(&handed),
        handed,
        revoked: loaded
            .keys
            .iter()
            .filter(is_revoked)
            .map(|key| (key.name.to_string(), key_view::last_used(key.last_used.as_ref(), now).0))
            .collect(),
        needs_code,
        form,
    };
    show_as(status_of(&page.form), &page)
}

/// How it came out.
pub(super) enum Tried {
    Done,
    WrongCode(String),
    Refused(MemberError),
}

/// Does something in one transaction, with a code where one is needed.
pub(super) async fn with_code(
    member: &Member,
    form: &Form,
    needs_code: bool,
    action: impl FnOnce(&mut Tx<'_>, &By, Option<&CodeProof>) -> Result<(), MemberError> + Send + 'static,
) -> Result<Tried, WebError> {
    let code = form.text("totp").to_owned();
    let tried: Result<Result<(), CodeError>, MemberError> = member
        .write(move |tx, by| {
            if !needs_code {
                return action(tx, by, None).map(Ok);
            }
            match credentials::confirm_code(tx, by, &code)? {
                Ok(proof) => action(tx, by, Some(&proof)).map(Ok),
                Err(wrong) => Ok(Err(wrong)),
            }
        })
        .await;
    match tried {
        Ok(Ok(())) => Ok(Tried::Done),
        Ok(Err(CodeError::Ended)) => Err(WebError::SignIn),
        Ok(Err(wrong)) => Ok(Tried::WrongCode(wrong.to_string())),
        Err(MemberError::Store(error)) => Err(error.into()),
        Err(error) => Ok(Tried::Refused(error)),
    }
}
