//! Why a key would be accepted or refused, rule by rule, and which key a token belongs to. For people, so always read fresh.

use crate::{
    domain::{
        ids::{KeyId, TenantId},
        time::Time,
        token::{Purpose, Token},
        verdict::{self, Code, KeyFacts, Outcome, Presented, Request, TenantFacts, Verdict},
    },
    secrets::Secrets,
    store::{
        Db, StoreError,
        facts::{self, Resolved, StoredSecret},
    },
};

/// A verdict with how each rule came out.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// The rules in the order in which they are tried; `None` after the one that refused.
    pub rules: Vec<(Code, Option<Outcome>)>,
    /// The key with all that was looked at.
    pub facts: Resolved,
}

/// What a key of the tenant, with this one of its secrets, would be answered at `at`, by today's facts.
///
/// # Errors
/// The database is away.
pub fn explain(
    db: &mut Db,
    tenant: TenantId,
    key: KeyId,
    presented: Presented,
    request: &Request<'_>,
    at: Time,
) -> Result<Option<Explanation>, StoreError> {
    let Some(facts) = facts::resolved(db, tenant, key)? else { return Ok(None) };
    let tenant_facts: TenantFacts = facts.tenant.facts();
    let key_facts = KeyFacts {
        life: facts.key.life,
        old_stops_at: facts.key.old.map(|old| old.stops_at),
        owner_active: facts.owner.active,
        ip_ranges: &facts.key.ip_ranges,
        scopes: &facts.scopes,
        resources: &facts.resources,
    };
    let verdict = verdict::decide(&tenant_facts, &key_facts, presented, request, at);
    let mut refused = false;
    let rules = verdict::RULES.map(|code| {
        let outcome = (!refused).then(|| verdict::rule(code, &tenant_facts, &key_facts, presented, request, at));
        refused |= outcome == Some(Outcome::Failed);
        (code, outcome)
    });
    Ok(Some(Explanation { verdict, rules: rules.to_vec(), facts }))
}

/// The key of the tenant that a whole token belongs to, and which of its secrets it holds.
///
/// # Errors
/// The database is away.
pub fn find_by_token(db: &mut Db, secrets: &Secrets, tenant: TenantId, text: &str) -> Result<Option<(KeyId, Presented)>, StoreError> {
    let text = text.trim();
    let Some(id) = Token::check(Purpose::Key, text) else { return Ok(None) };
    let Some(key) = facts::key(db, id)?.filter(|key| key.tenant == tenant) else { return Ok(None) };
    let holds = |secret: &StoredSecret| secrets.token_hash(secret.pepper, Purpose::Key, tenant, text).is_some_and(|hash| hash.matches(&secret.hash));
    let presented = if holds(&key.current) {
        Some(Presented::Current)
    } else if key.old.as_ref().is_some_and(|old| holds(&old.secret)) {
        Some(Presented::Old)
    } else {
        key.dead.iter().any(holds).then_some(Presented::Dead)
    };
    Ok(presented.map(|presented| (id, presented)))
}
