//! A member's own keys, with those of the service accounts that they keep: the table that the profile page shows.

use askama::Template;

use super::{
    key_view::KeyView,
    keys,
    keys_query::{KeysQuery, query},
    page::Frame,
};
use crate::{
    domain::{permission::Permission, time::Time},
    store::{
        Db, StoreError,
        grid::{Cursor, Tab},
        keys as key_rows,
        members::{Acting, Reach},
    },
};

/// How many rows a page has.
const PAGE: usize = 50;

/// The table, ready to be put into a page: `{{ own_keys|safe }}` after [`OwnKeys::html`].
#[derive(Debug)]
pub struct OwnKeys {
    rows: Vec<KeyView>,
    /// How many there are.
    pub total: String,
    /// Whether there is none.
    pub is_empty: bool,
    /// Whether the member may create a key now.
    pub may_create: bool,
    /// How many keys count against the limit, and the limit.
    pub limit: (i64, i64),
    /// What those keys are, where no more may be made.
    pub parts: String,
    /// Whether the tenant's keys are turned off.
    pub keys_off: bool,
    /// The tenant's name, where it is suspended.
    pub suspended: String,
    /// Whether the keys may be looked at: while the tenant is suspended by its admins alone.
    pub may_look: bool,
    /// Where a key is created.
    pub create_url: String,
    previous: String,
    next: String,
    range: String,
    find_url: String,
}

#[derive(Template)]
#[template(path = "keys/own.html")]
struct OwnTable<'a> {
    frame: &'a Frame,
    own: &'a OwnKeys,
    cols: Vec<&'static str>,
}

impl OwnKeys {
    /// Reads one page of them, newest first; `at` is the field of that name in the page's address, empty for the first page.
    ///
    /// # Errors
    /// The database is away.
    pub fn read(db: &mut Db, acting: &Acting, at: &str, now: Time) -> Result<Self, StoreError> {
        let asked = KeysQuery { at: Cursor::parse(at), ..KeysQuery::default() };
        let found = keys::rows(db, acting, &Reach::own(acting), &asked, PAGE, true, now)?;
        let parts = key_rows::parts(db, acting.tenant.id, acting.id, now)?;
        let used = parts.all();
        let settings = &acting.tenant.settings;
        let all = Tab::ALL.iter().position(|(tab, ..)| *tab == Tab::All).map(|at| found.page.counts[at]).unwrap_or_default();
        let link = |cursor: Option<Cursor>| {
            cursor.map_or_else(String::new, |cursor| {
                format!("/profile{}", query(&[("tenant", acting.tenant.slug.clone()), ("at", cursor.to_string())]))
            })
        };
        let limit = i64::from(settings.keys_per_member);
        let suspended = acting.tenant.suspended_at.is_some();
        let may_create = !suspended && acting.may(Permission::KeysManageOwn) && settings.keys_enabled && used < limit;
        Ok(Self {
            total: all.to_string(),
            is_empty: all.is_none(),
            may_create,
            limit: (used, limit),
            parts: if used >= limit { format!(": {parts}") } else { String::new() },
            keys_off: !settings.keys_enabled,
            suspended: if suspended { acting.tenant.name.clone() } else { String::new() },
            may_look: !suspended || acting.is_admin(),
            create_url: format!("/t/{}/keys/new", acting.tenant.slug),
            find_url: format!("/t/{}/keys/find", acting.tenant.slug),
            range: format!("{}–{} of {all}", found.page.before + 1, found.page.before + found.rows.len() as u64),
            previous: link(found.page.previous.clone()),
            next: link(found.page.next.clone()),
            rows: found.rows,
        })
    }

    /// The table as HTML.
    ///
    /// # Errors
    /// The template fails.
    pub fn html(&self, frame: &Frame) -> Result<String, askama::Error> {
        OwnTable { frame, own: self, cols: vec!["status", "access", "created", "expires", "used", "usage", "comment"] }.render()
    }
}
