//! The resources of a tenant: a page of up to many of them, who was given one, and how they change.

use std::collections::BTreeMap;

use diesel::{dsl::exists, dsl::sql, prelude::*, sql_types::Bool, sql_types::Text};

use super::{
    Change, Db, StoreError, Tx,
    catalogue::{KeyUse, KeyUseRow, Paged, Turn, Uses, containing, count_chosen, in_list, key_use, limit, list_of, paged},
    conn::{AnyConn, per_backend},
    micros,
    schema::{keys, member_resources as chosen, members, resources as table},
};
use crate::domain::{
    access::ResourceSet,
    ids::{ResourceId, TenantId},
    names::{Resource, ResourcePattern},
};

/// The most kinds that a list of them has.
const MOST_KINDS: usize = 200;
/// How many rows one insert has.
const MOST_INSERTED: usize = 1_000;
/// How many resources are read in their order before the index of the text is asked.
const MOST_READ: i64 = 2_000;
/// The shortest text that SQLite's index finds.
const SHORTEST_INDEXED: usize = 3;
/// How many keys are looked at for the counts in a list.
const MOST_COUNTED: i64 = 10_000;

/// A resource of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: ResourceId,
    /// Kind and name.
    pub resource: Resource,
    /// What it is.
    pub description: String,
}

/// What a filter looks at: `kind:name` and the description, folded.
pub(super) fn search_text(resource: &Resource, description: &str) -> String {
    format!("{resource}\n{description}").to_lowercase()
}

type Row = (i64, String, String, String);

type Searched = (i64, String, String, String, String);

fn searched((id, kind, name, description, _): Searched) -> Entry {
    entry((id, kind, name, description))
}

fn entry((id, kind, name, description): Row) -> Entry {
    Entry { id: ResourceId(id), resource: Resource { kind, name }, description }
}

/// A page of the tenant's resources, of one kind or any, whose kind, name or description contains `text`, by kind and name. A turn
/// names an entry as `kind:name`.
///
/// # Errors
/// The database is away.
pub fn page(db: &mut Db, tenant: TenantId, kind: Option<&str>, text: &str, turn: &Turn, most: usize) -> Result<Paged<Entry>, StoreError> {
    let rows = list(db, tenant, kind.as_slice(), &text.to_lowercase(), turn, most)?;
    Ok(paged(rows, turn, most))
}

/// One entry more than `most`, in the order of the turn. No kinds: any.
fn list(db: &mut Db, tenant: TenantId, kinds: &[&str], needle: &str, turn: &Turn, most: usize) -> Result<Vec<Entry>, StoreError> {
    // A comparison of pairs is what both databases find by an index.
    let beyond = |sign: &str, key: &str| {
        let (kind, name) = key.split_once(':').unwrap_or((key, ""));
        sql::<Bool>(&format!("(resources.kind, resources.name) {sign} ("))
            .bind::<Text, _>(kind.to_owned())
            .sql(", ")
            .bind::<Text, _>(name.to_owned())
            .sql(")")
    };
    let ordered = || {
        let mut query = table::table
            .filter(table::tenant_id.eq(tenant.number()))
            .select((table::id, table::kind, table::name, table::description, table::search))
            .into_boxed();
        if !kinds.is_empty() {
            query = query.filter(table::kind.eq_any(kinds.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>()));
        }
        match turn {
            Turn::Start => query.order((table::kind.asc(), table::name.asc())),
            Turn::After(key) => query.filter(beyond(">", key)).order((table::kind.asc(), table::name.asc())),
            Turn::Before(key) => query.filter(beyond("<", key)).order((table::kind.desc(), table::name.desc())),
        }
    };
    if needle.is_empty() {
        let rows: Vec<Searched> = ordered().limit(limit(most)).load(db.conn())?;
        return Ok(rows.into_iter().map(searched).collect());
    }
    // What many have is soon found in the order itself; what few have, by the index of the text.
    let first: Vec<Searched> = ordered().limit(MOST_READ).load(db.conn())?;
    let all = i64::try_from(first.len()).is_ok_and(|read| read < MOST_READ);
    let found: Vec<Entry> = first.into_iter().filter(|row| row.4.contains(needle)).take(most + 1).map(searched).collect();
    if all || found.len() > most {
        return Ok(found);
    }
    let pattern = containing(needle);
    let has_index = needle.chars().count() >= SHORTEST_INDEXED && matches!(db.conn(), AnyConn::Sqlite(_));
    let query = if has_index {
        let phrase = format!("\"{}\"", needle.replace('"', "\"\""));
        let matching = sql::<Bool>("resources.id IN (SELECT rowid FROM resources_search WHERE resources_search MATCH ");
        ordered().filter(matching.bind::<Text, _>(phrase).sql(")"))
    } else {
        ordered().filter(table::search.like(pattern).escape('\\'))
    };
    let rows: Vec<Searched> = query.limit(limit(most)).load(db.conn())?;
    Ok(rows.into_iter().map(searched).collect())
}

/// The first `most` resources of a set whose kind, name or description contains `text`, by kind and name. Those that the set names
/// one by one are found by kind and name alone.
///
/// # Errors
/// The database is away.
pub fn within(db: &mut Db, tenant: TenantId, set: &ResourceSet, text: &str, most: usize) -> Result<Paged<Entry>, StoreError> {
    let ResourceSet::Chosen(patterns) = set else { return page(db, tenant, None, text, &Turn::Start, most) };
    let (mut kinds, mut ones) = (Vec::new(), Vec::new());
    let folded = text.to_lowercase();
    for pattern in patterns {
        match pattern {
            ResourcePattern::Kind(kind) => kinds.push(kind.as_str()),
            ResourcePattern::One(one) if ones.len() <= most && one.to_string().to_lowercase().contains(&folded) => ones.push(one.clone()),
            ResourcePattern::One(_) => {}
        }
    }
    let mut found = named(db, tenant, &ones)?;
    if !kinds.is_empty() {
        found.extend(list(db, tenant, &kinds, &folded, &Turn::Start, most)?);
    }
    found.sort_by(|a, b| a.resource.cmp(&b.resource));
    found.dedup();
    Ok(paged(found, &Turn::Start, most))
}

/// These of the tenant's resources, by kind and name; what it does not have is left out.
///
/// # Errors
/// The database is away.
pub fn named(db: &mut Db, tenant: TenantId, wanted: &[Resource]) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<Row> = table::table
        .filter(table::tenant_id.eq(tenant.number()))
        .filter(table::kind.eq_any(wanted.iter().map(|resource| &resource.kind)))
        .filter(table::name.eq_any(wanted.iter().map(|resource| &resource.name)))
        .order((table::kind, table::name))
        .select((table::id, table::kind, table::name, table::description))
        .load(db.conn())?;
    Ok(rows.into_iter().map(entry).filter(|entry| wanted.contains(&entry.resource)).collect())
}

/// The kinds of the tenant's resources, in order.
///
/// # Errors
/// The database is away.
pub fn kinds(db: &mut Db, tenant: TenantId) -> Result<Vec<String>, StoreError> {
    let mut kinds: Vec<String> = Vec::new();
    // One short look into the index a kind, rather than one at every resource.
    while kinds.len() < MOST_KINDS {
        let last = kinds.last().cloned().unwrap_or_default();
        let next: Option<String> = table::table
            .filter(table::tenant_id.eq(tenant.number()).and(table::kind.gt(last)))
            .order(table::kind)
            .select(table::kind)
            .first(db.conn())
            .optional()?;
        let Some(next) = next else { break };
        kinds.push(next);
    }
    Ok(kinds)
}

/// A resource by its number.
///
/// # Errors
/// The database is away.
pub fn find(db: &mut Db, tenant: TenantId, id: ResourceId) -> Result<Option<Entry>, StoreError> {
    let row: Option<Row> = table::table
        .filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(id.0)))
        .select((table::id, table::kind, table::name, table::description))
        .first(db.conn())
        .optional()?;
    Ok(row.map(entry))
}

/// Whether the tenant has a resource of this kind.
///
/// # Errors
/// The database is away.
pub fn has_kind(db: &mut Db, tenant: TenantId, kind: &str) -> Result<bool, StoreError> {
    let found = table::table.filter(table::tenant_id.eq(tenant.number()).and(table::kind.eq(kind)));
    Ok(diesel::select(exists(found)).get_result(db.conn())?)
}

/// Whether the tenant has this resource.
///
/// # Errors
/// The database is away.
pub fn has(db: &mut Db, tenant: TenantId, resource: &Resource) -> Result<bool, StoreError> {
    let found = table::table.filter(table::tenant_id.eq(tenant.number()).and(table::kind.eq(&resource.kind)).and(table::name.eq(&resource.name)));
    Ok(diesel::select(exists(found)).get_result(db.conn())?)
}

/// How many keys that are not revoked are bound to each resource or kind, by `kind:name` or `kind:*`; `None` where too many keys
/// have chosen resources to count them for a list.
///
/// # Errors
/// The database is away.
pub fn bound_keys(db: &mut Db, tenant: TenantId) -> Result<Option<BTreeMap<String, usize>>, StoreError> {
    let lists: Vec<String> = keys::table
        .filter(keys::tenant_id.eq(tenant.number()))
        // Written out, because an index of these rows alone is found by its very words.
        .filter(sql::<Bool>("keys.all_resources = FALSE"))
        .filter(keys::revoked_at.is_null())
        .limit(MOST_COUNTED + 1)
        .select(keys::resources)
        .load(db.conn())?;
    count_chosen(&lists)
}

/// How many members hold each of these patterns (`kind:name`, `kind:*`), and how many hold every resource.
///
/// # Errors
/// The database is away.
pub fn holders(db: &mut Db, tenant: TenantId, patterns: &[String]) -> Result<(BTreeMap<String, i64>, i64), StoreError> {
    let number = tenant.number();
    let counted: Vec<(String, i64)> = chosen::table
        .inner_join(members::table.on(members::tenant_id.eq(chosen::tenant_id).and(members::id.eq(chosen::member_id))))
        .filter(chosen::tenant_id.eq(number).and(chosen::pattern.eq_any(patterns)).and(members::removed_at.is_null()))
        .group_by(chosen::pattern)
        .select((chosen::pattern, diesel::dsl::count_star()))
        .load(db.conn())?;
    let all: i64 = members::table
        .filter(members::tenant_id.eq(number).and(members::all_resources.eq(true)).and(members::removed_at.is_null()))
        .count()
        .get_result(db.conn())?;
    Ok((counted.into_iter().collect(), all))
}

fn keys_with(db: &mut Db, tenant: TenantId, resource: &Resource) -> Result<Vec<KeyUseRow>, StoreError> {
    let rows: Vec<KeyUseRow> = keys::table
        .filter(keys::tenant_id.eq(tenant.number()))
        .filter(sql::<Bool>("keys.all_resources = FALSE"))
        .filter(keys::resources.like(in_list(&resource.to_string())).escape('\\'))
        .order(keys::id)
        .select((keys::id, keys::name, keys::owner_id, keys::revoked_at, keys::resources))
        .load(db.conn())?;
    Ok(rows.into_iter().filter(|row| row.4.contains(&format!("\"{resource}\""))).collect())
}

/// Who loses a resource when it goes: members and keys that were given this one by name.
///
/// # Errors
/// The database is away.
pub fn uses(db: &mut Db, tenant: TenantId, resource: &Resource) -> Result<Uses, StoreError> {
    let members: Vec<String> = chosen::table
        .inner_join(members::table.on(members::tenant_id.eq(chosen::tenant_id).and(members::id.eq(chosen::member_id))))
        .filter(chosen::tenant_id.eq(tenant.number()).and(chosen::pattern.eq(resource.to_string())).and(members::removed_at.is_null()))
        .order(members::name)
        .select(members::name)
        .load(db.conn())?;
    let keys = keys_with(db, tenant, resource)?.iter().map(key_use).collect::<Result<Vec<_>, _>>()?;
    Ok(Uses { roles: Vec::new(), members, keys: keys.into_iter().filter(|key| !key.revoked).collect() })
}

/// Adds many resources at once: kind, name and description, none of which the tenant has.
///
/// # Errors
/// The database is away, or one is there already.
pub fn create_many(tx: &mut Tx<'_>, tenant: TenantId, new: impl IntoIterator<Item = (Resource, String)>) -> Result<(), StoreError> {
    let mut new = new.into_iter().peekable();
    while new.peek().is_some() {
        let rows: Vec<_> = new
            .by_ref()
            .take(MOST_INSERTED)
            .map(|(resource, description)| {
                let search = table::search.eq(search_text(&resource, &description));
                let words = (table::kind.eq(resource.kind), table::name.eq(resource.name), table::description.eq(description));
                (table::tenant_id.eq(tenant.number()), words, search)
            })
            .collect();
        per_backend!(tx.conn(), |inner| diesel::insert_into(table::table).values(&rows).execute(inner))?;
    }
    Ok(())
}

/// Describes a resource anew.
///
/// # Errors
/// The database is away.
pub fn describe(tx: &mut Tx<'_>, tenant: TenantId, entry: &Entry, description: &str) -> Result<(), StoreError> {
    diesel::update(table::table.filter(table::tenant_id.eq(tenant.number()).and(table::id.eq(entry.id.0))))
        .set((table::description.eq(description), table::search.eq(search_text(&entry.resource, description))))
        .execute(tx.conn())?;
    Ok(())
}

/// Removes a resource from the catalogue, and from every member and key that was given it by name, so that it comes back with
/// none of them; a list that becomes empty means none. Returns those keys.
///
/// # Errors
/// The database is away.
pub fn delete(tx: &mut Tx<'_>, tenant: TenantId, entry: &Entry) -> Result<Vec<KeyUse>, StoreError> {
    let number = tenant.number();
    let name = entry.resource.to_string();
    let rows = keys_with(tx, tenant, &entry.resource)?;
    for (id, _, _, _, list) in &rows {
        let rest: Vec<String> = list_of::<String>(list)?.into_iter().filter(|pattern| *pattern != name).collect();
        let rest = serde_json::json!(rest).to_string();
        diesel::update(keys::table.filter(keys::tenant_id.eq(number).and(keys::id.eq(id))))
            .set((keys::resources.eq(rest), keys::changed_at.eq(micros(tx.now())), keys::version.eq(keys::version + 1)))
            .execute(tx.conn())?;
    }
    diesel::delete(chosen::table.filter(chosen::tenant_id.eq(number).and(chosen::pattern.eq(&name)))).execute(tx.conn())?;
    diesel::delete(table::table.filter(table::tenant_id.eq(number).and(table::id.eq(entry.id.0)))).execute(tx.conn())?;
    tx.changed(Change::Tenant(tenant));
    rows.iter().map(key_use).collect()
}
