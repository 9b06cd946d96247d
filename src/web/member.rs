//! A member's page: console roles, keys, access, sessions, two-step sign-in, suspension; and what a service account has besides.

use actix_web::{http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_view::KeyView,
    keys::rows,
    keys_query::KeysQuery,
    member_fields::{Tick, read_roles, role_ticks},
    members::{contact, initials, refused},
    page::{Frame, Link, Question, WebResult, ask, done, show_as, status_of},
    session::Member,
    session_lines::{self, SessionLine},
};
use crate::{
    actions::{
        hand_over,
        members::{self as change, MemberError},
    },
    domain::{
        access::ResourceSet,
        ids::{ConsoleRoleId, KeyId, MemberId},
        key::Key,
        names::{EmailAddress, line},
        permission::{Permission, Permissions},
        time,
    },
    store::{
        Db, StoreError, access, accounts,
        console_roles::{self, ConsoleRole},
        member_list,
        members::{self, Acting, Owner, Reach},
        sessions,
    },
};

/// How many keys the page shows; the grid has the others.
const KEYS: usize = 50;

#[derive(Template)]
#[template(path = "members/page.html")]
#[allow(clippy::struct_excessive_bools)]
struct MemberPage {
    frame: Frame,
    form: Form,
    url: String,
    members_url: String,
    /// Empty where the member may not read events of others.
    logs_url: String,
    name: String,
    email: String,
    initials: String,
    service: bool,
    suspended: String,
    roles: Vec<Tick>,
    seats: String,
    sees_keys: bool,
    keys: Vec<KeyView>,
    cols: Vec<&'static str>,
    count: String,
    meter: i64,
    full: bool,
    more_keys: String,
    create_url: String,
    access_roles: Vec<String>,
    resources: Vec<String>,
    may_access: bool,
    keepers: Vec<(String, String, String)>,
    here_only: bool,
    own: bool,
    sessions: Vec<SessionLine>,
    totp: String,
    codes_left: i64,
    since: String,
    signed_in: String,
    limit: i64,
    /// Marks of what the cards show.
    roles_mark: String,
    details_mark: String,
    newer: Vec<(&'static str, String)>,
}

struct Loaded {
    member: Owner,
    held: Vec<ConsoleRoleId>,
    roles: Vec<ConsoleRole>,
    grantable: Vec<ConsoleRole>,
    seats_taken: i64,
    keys: Option<(Vec<KeyView>, i64)>,
    access: (Vec<String>, Vec<String>),
    keepers: Vec<Owner>,
    account: Option<(accounts::Account, i64, bool, Vec<sessions::Session>)>,
    since: Option<time::Time>,
    signed_in: Option<time::Time>,
}

fn load(db: &mut Db, acting: &Acting, reach: &Reach, id: MemberId, now: time::Time) -> Result<Option<Loaded>, StoreError> {
    let tenant = &acting.tenant;
    let Some(member) = members::find(db, tenant.id, id)?.filter(|member| member.removed_at.is_none()) else { return Ok(None) };
    let keys = if reach.owners().is_none_or(|owners| owners.contains(&id.0)) {
        let found = rows(db, acting, &reach.only(id), &KeysQuery::default(), KEYS, true, now)?;
        Some((found.rows, crate::store::keys::count_for_limit(db, tenant.id, id)?))
    } else {
        None
    };
    let held = access::held_by(db, tenant.id, id)?;
    let access_roles = access::roles(db, tenant.id)?.into_iter().filter(|role| held.roles.contains(&role.id)).map(|role| role.name).collect();
    let resources = match held.resources {
        ResourceSet::All => vec!["All".to_owned()],
        ResourceSet::Chosen(patterns) => patterns.iter().map(ToString::to_string).collect(),
    };
    let account = match member.account {
        Some(account) => {
            let here = change::is_here_only(db, tenant.id, account)?;
            let list = if here { sessions::of_account(db, account)? } else { Vec::new() };
            Some((accounts::get(db, account)?, accounts::recovery_codes_left(db, account)?, here, list))
        }
        None => None,
    };
    Ok(Some(Loaded {
        held: console_roles::of_member(db, tenant.id, id)?,
        roles: console_roles::all(db, tenant)?,
        grantable: change::grantable(db, acting)?,
        seats_taken: console_roles::seats_taken(db, tenant)?,
        keepers: if member.is_service() { members::keepers(db, tenant.id, id)? } else { Vec::new() },
        since: members::since(db, tenant.id, id)?,
        signed_in: member_list::last_sign_in(db, tenant.id, id)?,
        access: (access_roles, resources),
        keys,
        account,
        member,
    }))
}

/// The pages above a page about a member.
pub(super) fn crumbs(member: &Member, id: MemberId, name: &str) -> Vec<Link> {
    vec![Link::new("Members", member.url("/members")), Link::new(name, member.url(&format!("/members/{id}")))]
}

/// The member that an address names.
pub(super) fn named(path: &str) -> Result<MemberId, WebError> {
    path.parse().map(MemberId).map_err(|_| WebError::NotFound)
}

/// The fields of each card.
const CARDS: [&[&str]; 3] = [&["role"], &["name", "contact", "limit"], &["email"]];

/// What a card shows, where somebody else has changed it meanwhile.
fn newer(loaded: &Loaded, card: usize) -> Vec<(&'static str, String)> {
    let or_none = |text: String| if text.is_empty() { "None".to_owned() } else { text };
    match card {
        0 => {
            let held = loaded.roles.iter().filter(|role| loaded.held.contains(&role.id)).map(|role| role.name.as_str());
            vec![("Console roles", or_none(held.collect::<Vec<_>>().join(", ")))]
        }
        1 => {
            let limit = loaded.member.key_limit.map_or_else(|| "As for every member".to_owned(), |limit| limit.to_string());
            vec![("Name", loaded.member.name.clone()), ("Contact", or_none(loaded.member.email.clone())), ("Keys at most", limit)]
        }
        _ => Vec::new(),
    }
}

fn filled(loaded: &Loaded, sent: Option<Form>, card: usize) -> Form {
    let mut form = sent.unwrap_or_default();
    let mut fill = |name: &str, values: Vec<String>| {
        if card >= CARDS.len() || !CARDS[card].contains(&name) {
            form.set_all(name, values);
        }
    };
    fill("role", loaded.held.iter().map(ToString::to_string).collect());
    fill("name", vec![loaded.member.name.clone()]);
    fill("contact", vec![loaded.member.email.clone()]);
    fill("limit", loaded.member.key_limit.iter().map(ToString::to_string).collect());
    form
}

/// The page; `sent` is what was typed in the card number `card`.
async fn page(member: &Member, id: MemberId, sent: Option<Form>, card: usize) -> WebResult {
    drawn(member, id, sent, card, false).await
}

/// The page, where `changed` with what the card shows now.
async fn drawn(member: &Member, id: MemberId, sent: Option<Form>, card: usize, changed: bool) -> WebResult {
    let (acting, now) = (member.acting.clone(), member.by().now);
    let read: Result<_, StoreError> = member.read(move |db, reach| load(db, &acting, reach, id, now)).await;
    let loaded = read?.ok_or(WebError::NotFound)?;
    // A form that is shown again for another fault goes on from what it showed.
    let seen = sent.as_ref().filter(|_| !changed).map(|form| form.text("seen").to_owned()).filter(|seen| !seen.is_empty());
    let mark = |of: usize, now: String| seen.clone().filter(|_| card == of).unwrap_or(now);
    let form = filled(&loaded, sent, card);
    let newer = if changed { newer(&loaded, card) } else { Vec::new() };
    let tenant = &member.acting.tenant;
    let who = &loaded.member;
    let own_limit = who.key_limit.unwrap_or(tenant.settings.keys_per_member.into());
    let count = loaded.keys.as_ref().map_or(0, |(_, count)| *count);
    // A role that the member holds is drawn, so that it can be taken; others only where they may be given.
    let drawn = loaded.roles.iter().filter(|role| loaded.held.contains(&role.id) || loaded.grantable.iter().any(|other| other.id == role.id));
    let may_create = member.may(Permission::KeysManageAny) && tenant.settings.keys_enabled && who.is_active() && count < own_limit;
    let (account, codes_left, here_only, list) = match loaded.account {
        Some((account, left, here, list)) => (Some(account), left, here, list),
        None => (None, 0, false, Vec::new()),
    };
    let sessions = session_lines::open(list, &member.site, None);
    let page = MemberPage {
        url: member.url(&format!("/members/{id}")),
        members_url: member.url("/members"),
        logs_url: if member.may(Permission::EventsRead) { member.url(&format!("/events?member={id}")) } else { String::new() },
        name: who.name.clone(),
        email: who.email.clone(),
        initials: initials(&who.name),
        service: who.is_service(),
        suspended: who.suspended_at.map(time::date_time).unwrap_or_default(),
        roles: role_ticks(drawn),
        seats: tenant.seats.map(|seats| format!("{} of {seats} seats used.", loaded.seats_taken)).unwrap_or_default(),
        sees_keys: loaded.keys.is_some(),
        more_keys: if loaded.keys.as_ref().is_some_and(|(rows, _)| rows.len() >= KEYS) {
            member.url(&format!("/keys?owner={id}"))
        } else {
            String::new()
        },
        keys: loaded.keys.map(|(rows, _)| rows).unwrap_or_default(),
        cols: vec!["status", "access", "expires", "used", "usage"],
        count: format!("{count} of {own_limit}"),
        meter: (count * 100 / own_limit.max(1)).clamp(0, 100),
        full: count >= own_limit,
        create_url: if may_create { member.url(&format!("/keys/new?owner={id}")) } else { String::new() },
        access_roles: loaded.access.0,
        resources: loaded.access.1,
        may_access: member.may(Permission::AccessManage),
        keepers: loaded.keepers.into_iter().map(|keeper| (keeper.id.to_string(), keeper.name, keeper.email)).collect(),
        here_only,
        own: id == member.acting.id,
        sessions,
        totp: account.and_then(|account| account.totp_secret.as_ref().and(account.totp_enrolled_at)).map(time::date).unwrap_or_default(),
        codes_left,
        since: loaded.since.map(time::date).unwrap_or_default(),
        signed_in: loaded.signed_in.map(|at| time::ago(at, now)).unwrap_or_default(),
        limit: tenant.settings.keys_per_member.into(),
        roles_mark: mark(0, console_roles::mark_of(&loaded.held)),
        details_mark: mark(1, who.mark()),
        newer,
        frame: member.frame.clone(),
        form,
    };
    show_as(if changed { StatusCode::CONFLICT } else { status_of(&page.form) }, &page)
}

type At = Path<(String, String)>;

/// `GET /t/{tenant}/members/{member}`
pub async fn show(member: Member, path: At) -> WebResult {
    member.needs(Permission::MembersManage)?;
    page(&member, named(&path.1)?, None, CARDS.len()).await
}

/// After a change: back to the page, or again with what is wrong.
pub(super) async fn after<T>(
    member: &Member,
    id: MemberId,
    result: Result<T, MemberError>,
    words: &str,
    sent: Option<(Form, usize, &str)>,
) -> WebResult {
    match result {
        Ok(_) => done(&member.site, &member.frame, words, &member.url(&format!("/members/{id}"))),
        Err(MemberError::Changed) => {
            let (form, card, _) = sent.unwrap_or((Form::default(), CARDS.len(), ""));
            drawn(member, id, Some(form), card, true).await
        }
        Err(error) => {
            let wrong = refused(member, error)?;
            let (mut form, card, field) = sent.unwrap_or((Form::default(), CARDS.len(), ""));
            form.wrong(field, wrong);
            page(member, id, Some(form), card).await
        }
    }
}

#[derive(Template)]
#[template(path = "members/loses_keys.html")]
struct LosesKeys {
    seen: String,
    name: String,
    roles: Vec<String>,
    keys: Vec<KeyLine>,
    may_disable: bool,
}

/// A key in a question about a member.
pub(super) struct KeyLine {
    pub id: String,
    pub name: String,
    pub used: String,
}

pub(super) fn key_lines(keys: &[Key], now: time::Time) -> Vec<KeyLine> {
    keys.iter()
        .map(|key| KeyLine {
            id: key.id.to_string(),
            name: key.name.to_string(),
            used: key.last_used.as_ref().map_or_else(|| "Never used".into(), |used| format!("Last used {}", time::ago(used.at, now))),
        })
        .collect()
}

/// `POST /t/{tenant}/members/{member}/roles`
pub async fn set_roles(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&["role*", "disable*", "seen", "confirmed"])?;
    let id = named(&path.1)?;
    let Some(roles) = read_roles(&mut form) else { return page(&member, id, Some(form), 0).await };
    let disable: Option<Vec<KeyId>> = form.all("disable").map(KeyId::parse).collect();
    let disable = disable.ok_or(WebError::NotFound)?;
    if !form.checked("confirmed") {
        let (tenant, chosen) = (member.acting.tenant.clone(), roles.clone());
        let read: Result<_, StoreError> = member
            .read(move |db, _| {
                let after = console_roles::all(db, &tenant)?.into_iter().filter(|role| chosen.contains(&role.id));
                let after = after.fold(Permissions::NONE, |set, role| set.and(role.permissions));
                let (before, _) = members::permissions(db, &tenant, id)?;
                let takes = before.has(Permission::KeysManageOwn) && !after.has(Permission::KeysManageOwn);
                let member = members::find(db, tenant.id, id)?.filter(|member| !member.is_service());
                Ok(match member {
                    Some(member) if takes => Some((member.name, hand_over::keys_of(db, tenant.id, id)?)),
                    _ => None,
                })
            })
            .await;
        if let Some((name, mut keys)) = read? {
            keys.retain(|key| key.life.disabled_at.is_none());
            if !keys.is_empty() {
                return ask_loss(&member, id, name, (&roles, form.text("seen")), &keys);
            }
        }
    }
    let (sent, seen) = (form.clone(), form.text("seen").to_owned());
    let saved: Result<(), MemberError> = member.write(move |tx, by| change::set_roles(tx, by, id, &roles, &disable, &seen)).await;
    after(&member, id, saved, "Console roles saved.", Some((sent, 0, "role"))).await
}

fn ask_loss(member: &Member, id: MemberId, name: String, (roles, seen): (&[ConsoleRoleId], &str), keys: &[Key]) -> WebResult {
    let page_url = member.url(&format!("/members/{id}"));
    let question = Question {
        asks: format!("Take own keys from {name}?"),
        action: format!("{page_url}/roles"),
        submit: "Save roles".into(),
        danger: true,
        cancel: page_url,
        crumbs: crumbs(member, id, &name),
        ..Question::default()
    };
    let body = LosesKeys {
        seen: seen.to_owned(),
        name,
        roles: roles.iter().map(ToString::to_string).collect(),
        keys: key_lines(keys, member.by().now),
        may_disable: member.acting.may_stop(id),
    };
    ask(&member.frame, &question, &Form::default(), &body)
}

#[derive(Template)]
#[template(path = "members/suspend.html")]
struct Suspend {
    suspends: bool,
    service: bool,
    keys: usize,
    used: usize,
    /// The name of the one that was used last; empty where it is out of reach.
    latest: String,
}

async fn suspend_question(member: &Member, id: MemberId, suspends: bool, form: &Form) -> WebResult {
    let (tenant, now) = (member.acting.tenant.id, member.by().now);
    let read: Result<_, StoreError> = member
        .read(move |db, reach| {
            let sees = reach.owners().is_none_or(|owners| owners.contains(&id.0));
            Ok((members::find(db, tenant, id)?, hand_over::keys_of(db, tenant, id)?, sees))
        })
        .await;
    let (found, keys, sees) = read?;
    let who = found.filter(|member| member.removed_at.is_none()).ok_or(WebError::NotFound)?;
    let hour = now - chrono::Duration::hours(1);
    let mut used: Vec<&Key> = keys.iter().filter(|key| key.last_used.as_ref().is_some_and(|used| used.at > hour)).collect();
    used.sort_by_key(|key| std::cmp::Reverse(key.last_used.as_ref().map(|used| used.at)));
    let page_url = member.url(&format!("/members/{id}"));
    let (verb, end) = if suspends { ("Suspend", "/suspend") } else { ("Bring back", "/restore") };
    let question = Question {
        asks: format!("{verb} {}?", who.name),
        action: format!("{page_url}{end}"),
        submit: if suspends { "Suspend member".into() } else { "Bring back member".into() },
        danger: suspends,
        cancel: page_url,
        crumbs: crumbs(member, id, &who.name),
        ..Question::default()
    };
    let latest = used.first().filter(|_| sees).map(|key| key.name.to_string()).unwrap_or_default();
    let body = Suspend { suspends, service: who.is_service(), keys: keys.len(), used: used.len(), latest };
    ask(&member.frame, &question, form, &body)
}

/// `GET /t/{tenant}/members/{member}/suspend`
pub async fn ask_suspend(member: Member, path: At) -> WebResult {
    member.needs(Permission::MembersManage)?;
    suspend_question(&member, named(&path.1)?, true, &Form::default()).await
}

/// `GET /t/{tenant}/members/{member}/restore`
pub async fn ask_restore(member: Member, path: At) -> WebResult {
    member.needs(Permission::MembersManage)?;
    suspend_question(&member, named(&path.1)?, false, &Form::default()).await
}

async fn set_suspended(member: Member, path: At, mut form: Form, suspends: bool) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = named(&path.1)?;
    let saved: Result<(), MemberError> = member.write(move |tx, by| change::set_suspended(tx, by, id, suspends)).await;
    match saved {
        Ok(()) if id == member.acting.id => done(&member.site, &member.frame, "You are suspended.", "/profile"),
        Ok(()) => {
            let words = if suspends { "Member suspended." } else { "Member is back." };
            done(&member.site, &member.frame, words, &member.url(&format!("/members/{id}")))
        }
        Err(error) => {
            let wrong = refused(&member, error)?;
            form.wrong("", wrong);
            suspend_question(&member, id, suspends, &form).await
        }
    }
}

/// `POST /t/{tenant}/members/{member}/suspend`
pub async fn suspend(member: Member, path: At, form: Form) -> WebResult {
    set_suspended(member, path, form, true).await
}

/// `POST /t/{tenant}/members/{member}/restore`
pub async fn restore(member: Member, path: At, form: Form) -> WebResult {
    set_suspended(member, path, form, false).await
}

/// `POST /t/{tenant}/members/{member}/shut`
pub async fn shut(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = named(&path.1)?;
    let shut: Result<(), MemberError> = member.write(move |tx, by| change::shut(tx, by, id)).await;
    after(&member, id, shut, "This tenant is shut to the member’s sessions until a new sign-in.", None).await
}

/// `POST /t/{tenant}/members/{member}/sessions/end`
pub async fn end_sessions(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = named(&path.1)?;
    let ended: Result<usize, MemberError> = member.write(move |tx, by| change::end_sessions(tx, by, id, None)).await;
    after(&member, id, ended, "Sessions ended.", None).await
}

/// `POST /t/{tenant}/members/{member}/sessions/{session}/end`
pub async fn end_session(member: Member, path: Path<(String, String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = named(&path.1)?;
    let session = KeyId::parse(&path.2).ok_or(WebError::NotFound)?;
    let ended: Result<usize, MemberError> = member.write(move |tx, by| change::end_sessions(tx, by, id, Some(&session))).await;
    after(&member, id, ended, "Session ended.", None).await
}

/// `POST /t/{tenant}/members/{member}/details`: of a service account.
pub async fn edit_service(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&["name", "contact", "limit", "seen"])?;
    let id = named(&path.1)?;
    let name = form.parse("name", |text| line("Name", text, 1, 100));
    let address = form.parse("contact", contact);
    let limit = form.parse("limit", |text| match text.trim() {
        "" => Ok(None),
        text => {
            text.parse::<i64>().ok().filter(|limit| (1..=1000).contains(limit)).map(Some).ok_or("Enter a whole number from 1 to 1000, or nothing.")
        }
    });
    let (Some(name), Some(address), Some(limit)) = (name, address, limit) else { return page(&member, id, Some(form), 1).await };
    let seen = form.text("seen").to_owned();
    let saved: Result<(), MemberError> = member.write(move |tx, by| change::edit_service(tx, by, id, (&name, address.as_ref(), limit), &seen)).await;
    after(&member, id, saved, "Service account saved.", Some((form, 1, ""))).await
}

/// `POST /t/{tenant}/members/{member}/keepers`
pub async fn add_keeper(member: Member, path: At, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&["email"])?;
    let id = named(&path.1)?;
    let Some(email) = form.parse("email", str::parse::<EmailAddress>) else { return page(&member, id, Some(form), 2).await };
    let saved: Result<(), MemberError> = member.write(move |tx, by| change::add_keeper(tx, by, id, &email)).await;
    after(&member, id, saved, "Keeper added.", Some((form, 2, "email"))).await
}

/// `POST /t/{tenant}/members/{member}/keepers/{keeper}/remove`
pub async fn remove_keeper(member: Member, path: Path<(String, String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let (id, keeper) = (named(&path.1)?, named(&path.2)?);
    let saved: Result<(), MemberError> = member.write(move |tx, by| change::remove_keeper(tx, by, id, keeper)).await;
    after(&member, id, saved, "Keeper removed.", None).await
}
