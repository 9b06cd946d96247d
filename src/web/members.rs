//! The members of a tenant: the list with its filter, invitations, and making service accounts.

use actix_web::{HttpRequest, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    keys_query::query,
    member_fields::{RESOURCES, Tick, access_ticks, asks_offer, read_access_roles, read_resources, read_roles, resources, role_ticks},
    page::{Frame, Link, Question, WebResult, ask, done, show, show_as, status_of},
    picker::Resources,
    session::Member,
};
use crate::{
    actions::{
        invitations::{self, InviteForm},
        members::{self, MemberError},
    },
    domain::{
        access::ResourceSet,
        ids::{ConsoleRoleId, MemberId},
        names::{EmailAddress, line},
        permission::Permission,
        time,
    },
    store::{
        StoreError, access, console_roles,
        member_list::{self, Filter, From, Kind},
    },
};

/// How many members a page has.
const PAGE: usize = 50;
/// How many invitations it has.
const WAITING: i64 = 50;

/// A tab above the list.
pub(super) struct TabLink {
    pub(super) label: &'static str,
    pub(super) url: String,
    pub(super) count: i64,
    pub(super) current: bool,
}

/// The tabs that the list and the page of console roles share.
pub(super) struct Tabs {
    pub(super) kinds: Vec<TabLink>,
    /// Empty where the member may not open it.
    pub(super) roles_url: String,
    pub(super) roles: usize,
    pub(super) on_roles: bool,
}

#[allow(clippy::struct_excessive_bools)]
struct Row {
    id: String,
    url: String,
    name: String,
    email: String,
    initials: String,
    service: bool,
    suspended: bool,
    roles: Vec<(String, bool)>,
    keys: String,
    meter: i64,
    full: bool,
    totp: bool,
    signed_in: String,
    create_url: String,
}

struct Waiting {
    id: String,
    email: String,
    by: String,
    until: String,
}

#[derive(Template)]
#[template(path = "members/list.html")]
struct ListPage {
    frame: Frame,
    base: String,
    tabs: Tabs,
    filter: Filter,
    kind: &'static str,
    roles: Vec<(String, String, bool)>,
    status: String,
    rows: Vec<Row>,
    shows_keys: bool,
    filtered: bool,
    previous: String,
    next: String,
    waiting: Vec<Waiting>,
    newer_invitations: String,
    older_invitations: String,
}

const KINDS: [(Kind, &str, &str); 3] = [(Kind::All, "", "All"), (Kind::People, "people", "People"), (Kind::Services, "service", "Service accounts")];

/// First letters of the first and the last word.
pub(super) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let first = words.next();
    first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).collect()
}

pub(super) fn tabs(member: &Member, counts: (i64, i64, i64), roles: usize, current: Option<Kind>) -> Tabs {
    let base = member.url("/members");
    let kinds = KINDS
        .iter()
        .filter(|_| member.may(Permission::MembersManage))
        .map(|(kind, word, label)| TabLink {
            label,
            url: if word.is_empty() { base.clone() } else { format!("{base}?kind={word}") },
            count: match kind {
                Kind::All => counts.0,
                Kind::People => counts.1,
                Kind::Services => counts.2,
            },
            current: current == Some(*kind),
        })
        .collect();
    let roles_url = if member.may(Permission::SettingsManage) { member.url("/roles") } else { String::new() };
    Tabs { kinds, roles_url, roles, on_roles: current.is_none() }
}

/// `GET /t/{tenant}/members`
pub async fn list(member: Member, req: HttpRequest) -> WebResult {
    member.needs(Permission::MembersManage)?;
    let mut asked = Form::from_query(&req)?;
    asked.only(&["q", "kind", "role", "status", "after", "before", "invitations"])?;
    let (kind, kind_word, _) = KINDS.into_iter().find(|(_, word, _)| *word == asked.text("kind")).ok_or(WebError::NotFound)?;
    let filter = Filter {
        text: asked.text("q").trim().chars().take(200).collect(),
        kind,
        role: asked.text("role").parse().ok().map(ConsoleRoleId),
        suspended: match asked.text("status") {
            "active" => Some(false),
            "suspended" => Some(true),
            _ => None,
        },
    };
    let from = match (asked.text("after").parse(), asked.text("before").parse()) {
        (Ok(id), _) => Some(From::After(MemberId(id))),
        (_, Ok(id)) => Some(From::Before(MemberId(id))),
        _ => None,
    };
    let skip = asked.text("invitations").parse::<i64>().unwrap_or(0).clamp(0, 1_000_000);
    let (tenant, now, narrowed) = (member.acting.tenant.clone(), member.by().now, filter.clone());
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let page = member_list::page(db, tenant.id, &narrowed, from, PAGE)?;
            let counts = member_list::counts(db, tenant.id)?;
            let roles = console_roles::all(db, &tenant)?;
            Ok((page, counts, roles, invitations::waiting(db, &tenant, &narrowed.text, (skip, WAITING + 1), now)?))
        })
        .await;
    let (page, counts, roles, mut waiting) = read?;
    let base = member.url("/members");
    let link = |name: &str, at: Option<String>| {
        at.map_or_else(String::new, |at| {
            let mut fields: Vec<(&str, String)> = ["q", "kind", "role", "status"]
                .into_iter()
                .map(|name| (name, asked.text(name).to_owned()))
                .filter(|(_, value)| !value.is_empty())
                .collect();
            fields.push((name, at));
            format!("{base}{}", query(&fields))
        })
    };
    let previous = link("before", page.lines.first().filter(|_| page.before).map(|line| line.member.id.to_string()));
    let next = link("after", page.lines.last().filter(|_| page.after).map(|line| line.member.id.to_string()));
    let older = waiting.len() > usize::try_from(WAITING).unwrap_or_default();
    waiting.truncate(usize::try_from(WAITING).unwrap_or_default());
    let newer_invitations = link("invitations", (skip > 0).then(|| (skip - WAITING).max(0).to_string()));
    let older_invitations = link("invitations", older.then(|| (skip + WAITING).to_string()));
    let most = i64::from(member.acting.tenant.settings.keys_per_member);
    let may_create = member.may(Permission::KeysManageAny) && member.acting.tenant.settings.keys_enabled;
    let rows = page
        .lines
        .into_iter()
        .map(|line| {
            let limit = line.member.key_limit.unwrap_or(most);
            Row {
                id: line.member.id.to_string(),
                url: format!("{base}/{}", line.member.id),
                initials: initials(&line.member.name),
                service: line.member.is_service(),
                suspended: line.member.suspended_at.is_some(),
                roles: line.roles,
                keys: format!("{} of {limit}", line.keys),
                meter: (line.keys * 100 / limit.max(1)).clamp(0, 100),
                full: line.keys >= limit,
                totp: line.totp,
                signed_in: line.signed_in.map(|at| time::ago(at, now)).unwrap_or_default(),
                create_url: if may_create && line.member.is_active() {
                    member.url(&format!("/keys/new?owner={}", line.member.id))
                } else {
                    String::new()
                },
                name: line.member.name,
                email: line.member.email,
            }
        })
        .collect();
    let waiting = waiting
        .into_iter()
        .map(|(offer, until)| Waiting {
            id: offer.id,
            email: offer.email.to_string(),
            by: if offer.by_name.is_empty() { "the installation owner".into() } else { offer.by_name },
            until: time::date_time(until),
        })
        .collect();
    show(&ListPage {
        frame: member.frame.clone(),
        tabs: tabs(&member, counts, roles.len(), Some(kind)),
        kind: kind_word,
        roles: roles.into_iter().map(|role| (role.id.to_string(), role.name, filter.role == Some(role.id))).collect(),
        status: asked.text("status").to_owned(),
        filtered: !filter.text.is_empty() || filter.role.is_some() || filter.suspended.is_some(),
        filter,
        rows,
        shows_keys: member.may(Permission::KeysReadAny),
        previous,
        next,
        waiting,
        newer_invitations,
        older_invitations,
        base,
    })
}

#[derive(Template)]
#[template(path = "members/invite.html")]
struct InvitePage {
    frame: Frame,
    form: Form,
    action: String,
    members_url: String,
    roles: Vec<Tick>,
    access: Vec<Tick>,
    resources: Resources,
    may_access: bool,
    seats: String,
}

async fn invite_page(member: &Member, form: Form) -> WebResult {
    let (acting, asked) = (member.acting.clone(), form.clone());
    let read: Result<_, StoreError> = member
        .read(move |db, _| {
            let tenant = &acting.tenant;
            let offered = (access::roles(db, tenant.id)?, resources(db, tenant.id, &asked)?);
            Ok((members::grantable(db, &acting)?, offered, console_roles::seats_taken(db, tenant)?))
        })
        .await;
    let (roles, (access, resources), taken) = read?;
    let page = InvitePage {
        frame: member.frame.clone(),
        action: member.url("/members/invite"),
        members_url: member.url("/members"),
        roles: role_ticks(&roles),
        access: access_ticks(&access),
        resources,
        may_access: member.may(Permission::AccessManage),
        seats: member.acting.tenant.seats.map(|seats| format!("{taken} of {seats} seats used.")).unwrap_or_default(),
        form,
    };
    show_as(status_of(&page.form), &page)
}

/// `GET /t/{tenant}/members/invite`
pub async fn ask_invite(member: Member) -> WebResult {
    member.needs(Permission::MembersManage)?;
    invite_page(&member, Form::filled([("resources", "all".to_owned())])).await
}

#[derive(Template)]
#[template(path = "members/invited.html")]
struct InvitedPage {
    frame: Frame,
    email: String,
    link: String,
    until: String,
    members_url: String,
}

/// `POST /t/{tenant}/members/invite`: the answer shows the link, once.
pub async fn invite(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    let known: Vec<&str> = RESOURCES.into_iter().chain(["email", "role*", "access*"]).collect();
    form.only(&known)?;
    if asks_offer(&form) {
        return invite_page(&member, form).await;
    }
    let email = form.parse("email", str::parse::<EmailAddress>);
    let roles = read_roles(&mut form);
    let access_roles = read_access_roles(&mut form);
    let resources = read_resources(&mut form);
    let (Some(email), Some(roles), Some(access_roles), Some(resources)) = (email, roles, access_roles, resources) else {
        return invite_page(&member, form).await;
    };
    if (!access_roles.is_empty() || resources != ResourceSet::All) && !member.may(Permission::AccessManage) {
        return Err(member.forbidden(Permission::AccessManage));
    }
    let shown = email.to_string();
    let what = InviteForm { email, roles, access_roles, resources };
    let made: Result<_, MemberError> = member.write(move |tx, by| invitations::invite(tx, by, &what)).await;
    match made {
        Ok((token, until)) => show(&InvitedPage {
            frame: member.frame.clone(),
            email: shown,
            link: format!("{}/invite/{}", member.site.settings.public_url.trim_end_matches('/'), token.reveal()),
            until: time::date_time(until),
            members_url: member.url("/members"),
        }),
        Err(error) => {
            let field = match error {
                MemberError::NoSuchResource(_) => "chosen",
                MemberError::InvitedTooOften => "email",
                MemberError::NoSuchAccessRole => "access",
                _ => "role",
            };
            refused(&member, error).map_or_else(Err, |words| {
                form.wrong(field, words);
                Ok(())
            })?;
            invite_page(&member, form).await
        }
    }
}

/// The words of an error for the form, unless it is one that no form can help.
pub(super) fn refused(member: &Member, error: MemberError) -> Result<String, WebError> {
    match error {
        MemberError::Store(error) | MemberError::Key(crate::actions::keys::KeyError::Store(error)) => Err(error.into()),
        MemberError::NoSuchMember => Err(WebError::NotFound),
        MemberError::NotAllowed => Err(member.forbidden(Permission::MembersManage)),
        error => Ok(error.to_string()),
    }
}

/// `POST /t/{tenant}/members/invitations/{id}/withdraw`
pub async fn withdraw(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&[])?;
    let id = path.into_inner().1;
    let withdrawn: Result<bool, MemberError> = member.write(move |tx, by| invitations::withdraw(tx, by, &id)).await;
    match withdrawn {
        Ok(true) => done(&member.site, &member.frame, "Invitation withdrawn.", &member.url("/members")),
        Ok(false) => Err(WebError::NotFound),
        Err(error) => Err(refused(&member, error).map_or_else(|error| error, WebError::Forbidden)),
    }
}

#[derive(Template)]
#[template(path = "members/new_service.html")]
struct NewService<'a> {
    form: &'a Form,
}

fn service_question(member: &Member, form: &Form) -> WebResult {
    let question = Question {
        asks: "Create service account".into(),
        action: member.url("/members/service"),
        submit: "Create service account".into(),
        cancel: member.url("/members"),
        crumbs: vec![Link::new("Members", member.url("/members"))],
        ..Question::default()
    };
    ask(&member.frame, &question, form, &NewService { form })
}

/// `GET /t/{tenant}/members/service`
pub async fn ask_service(member: Member) -> WebResult {
    member.needs(Permission::MembersManage)?;
    service_question(&member, &Form::default())
}

/// An address, or nothing.
pub(super) fn contact(text: &str) -> Result<Option<EmailAddress>, String> {
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|error: crate::domain::names::TextError| error.to_string()) }
}

/// `POST /t/{tenant}/members/service`
pub async fn create_service(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::MembersManage)?;
    form.only(&["name", "contact"])?;
    let name = form.parse("name", |text| line("Name", text, 1, 100));
    let address = form.parse("contact", contact);
    let (Some(name), Some(address)) = (name, address) else { return service_question(&member, &form) };
    let made: Result<MemberId, MemberError> = member.write(move |tx, by| members::create_service(tx, by, &name, address.as_ref())).await;
    match made {
        Ok(id) => done(&member.site, &member.frame, "Service account created.", &member.url(&format!("/members/{id}"))),
        Err(error) => {
            let words = refused(&member, error)?;
            form.wrong("", words);
            service_question(&member, &form)
        }
    }
}
