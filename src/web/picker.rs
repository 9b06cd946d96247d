//! Pickers that search: of many members or resources a form offers what is chosen already and the first others that its search
//! finds. `parts/pickers.html` draws them, and [`Form::searches`] tells a search from a form that is sent to be acted on.

use std::collections::BTreeSet;

use actix_web::HttpRequest;
use askama::Template;

use super::{error::WebError, form::Form, session::Member};
use crate::{
    domain::{
        access::ResourceSet,
        ids::{MemberId, TenantId},
        names::{Resource, ResourcePattern},
    },
    store::{
        Db, StoreError,
        members::{self, Owner},
        resources,
    },
};

/// How many are offered besides those that are chosen; others are searched for.
pub const MOST: usize = 50;
/// How many kinds of resources are offered.
const MOST_KINDS: usize = 20;

/// One thing to choose.
#[derive(Debug, Clone)]
pub struct Offered {
    /// What the form sends.
    pub value: String,
    /// What it is called.
    pub label: String,
    /// What it means.
    pub says: String,
}

impl Offered {
    /// Something that is sent as `value`, called `label` and explained in a few words, or none.
    pub fn new(value: impl Into<String>, label: impl Into<String>, says: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into(), says: says.into() }
    }
}

/// The text of a search, as it was typed.
pub fn sought(text: &str) -> String {
    text.trim().chars().take(200).collect()
}

/// Which members can be chosen.
#[derive(Debug, Clone)]
pub enum Among {
    /// Every one who is not removed.
    All,
    /// Those who are not suspended either.
    Active,
    /// These, where they are active.
    These(Vec<MemberId>),
}

/// Members of whom one is chosen.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Who is chosen, and whom the search finds, by name.
    pub options: Vec<Offered>,
    /// Whether there are more than are listed, or a search left some out.
    pub seek: bool,
    /// How many the search found; empty where all are listed.
    pub says: String,
}

impl People {
    /// Whether there is more than one to choose.
    pub fn is_choice(&self) -> bool {
        self.seek || self.options.len() > 1
    }
}

/// The first members whose name or address contains `text`, and the one who is chosen.
///
/// # Errors
/// The database is away.
pub fn people(db: &mut Db, tenant: TenantId, among: &Among, text: &str, chosen: Option<MemberId>) -> Result<People, StoreError> {
    let text = sought(text);
    let mut found = match among {
        Among::All | Among::Active => members::search(db, tenant, &text, matches!(among, Among::Active), MOST + 1)?,
        Among::These(ids) => {
            let mut these = members::find_many(db, tenant, ids)?;
            let folded = text.to_lowercase();
            these.retain(|member| member.is_active() && format!("{}\n{}", member.name, member.email).to_lowercase().contains(&folded));
            these
        }
    };
    let has_more = found.len() > MOST;
    found.truncate(MOST);
    let count = found.len();
    if let Some(id) = chosen.filter(|id| !found.iter().any(|member| member.id == *id)) {
        found.splice(0..0, members::find(db, tenant, id)?.filter(|member| member.removed_at.is_none()));
    }
    let says = match count {
        _ if has_more => format!("The first {MOST} are listed. Type more of a name or address to find others."),
        _ if text.is_empty() => String::new(),
        0 => "No member matches.".into(),
        1 => "1 member matches.".into(),
        count => format!("{count} members match."),
    };
    Ok(People { seek: has_more || !text.is_empty(), says, options: found.iter().map(person).collect() })
}

fn person(member: &Owner) -> Offered {
    let more = if member.is_service() { "service account" } else { member.email.as_str() };
    Offered::new(member.id.to_string(), format!("{} ({more})", member.name), "")
}

/// A filter by one member, or none: what `parts/member_filter.html` draws.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "parts/member_filter.html", blocks = ["options"])]
pub struct MemberFilter {
    name: &'static str,
    title: &'static str,
    none: &'static str,
    label: &'static str,
    people: People,
    chosen: String,
    text: String,
    url: String,
}

/// The filter `name` of a page at `url`, with its title and its words for nobody in particular and for its search.
///
/// # Errors
/// The database is away.
pub async fn filter(
    member: &Member,
    form: &Form,
    name: &'static str,
    [title, none, label]: [&'static str; 3],
    url: &str,
) -> Result<MemberFilter, WebError> {
    let (tenant, text, chosen) = (member.acting.tenant.id, sought(form.text(&format!("find_{name}"))), form.text(name).to_owned());
    let (seeks, id) = (text.clone(), chosen.parse().ok().map(MemberId));
    let read: Result<_, StoreError> = member.read(move |db, _| people(db, tenant, &Among::All, &seeks, id)).await;
    Ok(MemberFilter { name, title, none, label, people: read?, chosen, text, url: url.to_owned() })
}

/// Whether htmx asks for the options of the filter `name` alone.
pub fn seeks(member: &Member, req: &HttpRequest, name: &str) -> bool {
    let target = req.headers().get("hx-target").and_then(|target| target.to_str().ok());
    member.frame.fragment && target.and_then(|target| target.strip_prefix("f-")) == Some(name)
}

/// Resources of which some are chosen.
#[derive(Debug, Clone)]
pub struct Resources {
    /// What is chosen, then kinds, then single ones, as the search finds them.
    pub offered: Vec<Offered>,
    /// Whether there are more than are listed, or a search left some out.
    pub seek: bool,
}

/// What is ticked, then kinds, then the first resources of a set that the search finds; what lies outside of the set is said to be
/// `lost`.
///
/// # Errors
/// The database is away.
pub fn resources(
    db: &mut Db,
    tenant: TenantId,
    held: &ResourceSet,
    text: &str,
    ticked: &[ResourcePattern],
    lost: &str,
) -> Result<Resources, StoreError> {
    let found = resources::within(db, tenant, held, text, MOST)?;
    let ones: Vec<Resource> =
        ticked.iter().filter_map(|pattern| if let ResourcePattern::One(one) = pattern { Some(one.clone()) } else { None }).collect();
    let mut known = resources::named(db, tenant, &ones)?;
    known.extend(found.rows.iter().cloned());
    let says =
        |resource: &Resource| known.iter().find(|entry| entry.resource == *resource).map(|entry| entry.description.clone()).unwrap_or_default();
    let mut kinds = match held {
        ResourceSet::All => resources::kinds(db, tenant)?,
        ResourceSet::Chosen(patterns) => {
            patterns.iter().filter_map(|pattern| if let ResourcePattern::Kind(kind) = pattern { Some(kind.clone()) } else { None }).collect()
        }
    };
    kinds.retain(|kind| format!("{kind}:*").contains(&text.to_lowercase()));
    let seek = found.next || kinds.len() > MOST_KINDS || !text.is_empty();
    kinds.truncate(MOST_KINDS);

    let mut patterns: Vec<ResourcePattern> = if seek { ticked.to_vec() } else { Vec::new() };
    patterns.extend(kinds.into_iter().map(ResourcePattern::Kind));
    patterns.extend(found.rows.iter().map(|entry| ResourcePattern::One(entry.resource.clone())));
    patterns.extend(ticked.iter().cloned());
    if text.is_empty() {
        // Held, though the catalogue lacks it by now.
        patterns.extend(held.chosen().into_iter().flatten().take(MOST).cloned());
    }
    let mut offered: Vec<Offered> = Vec::new();
    for pattern in patterns {
        let value = pattern.to_string();
        if offered.iter().any(|known| known.value == value) {
            continue;
        }
        let words = match &pattern {
            _ if !is_held(&pattern, held) => lost.to_owned(),
            ResourcePattern::Kind(_) => "Every one of this kind".to_owned(),
            ResourcePattern::One(one) => says(one),
        };
        offered.push(Offered::new(value.clone(), value, words));
    }
    Ok(Resources { offered, seek })
}

/// Whether a set has all of what a pattern names.
pub fn is_held(pattern: &ResourcePattern, held: &ResourceSet) -> bool {
    let cut = ResourceSet::Chosen(BTreeSet::from([pattern.clone()])).cut_to(held);
    cut.chosen().is_some_and(|cut| !cut.is_empty())
}
