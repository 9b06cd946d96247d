//! Disable, enable, revoke and delete for many keys: those that are ticked, or all that match the filter.
//!
//! The confirmation counts the keys that the verb applies to and carries a hash of exactly these; where the same choice means
//! other keys when it is confirmed, it is asked again. Up to [`BATCH`] keys are one transaction. More are done batch by batch in
//! the background, and the page tells how far it has come.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use actix_web::{HttpRequest, http::StatusCode, web::Data};
use askama::Template;
use sha2::{Digest as _, Sha256};

use super::{
    error::WebError,
    form::Form,
    guard,
    key_view::last_used,
    keys::own_keys_url,
    keys_query::{KeysQuery, query},
    page::{Frame, Link, Question, WebResult, ask_as, done, see_other, show, status_of},
    session::Member,
    site::Site,
};
use crate::{
    actions::{self, By, CodeProof, Who, credentials, keys::KeyError},
    chance,
    domain::{
        ids::{AccountId, KeyId, TenantId},
        key::{Key, Status},
        names,
        permission::Permission,
        time::Time,
        token::base62,
    },
    store::{
        Db, StoreError, Tx,
        grid::{self, Count, Match, View},
        keys,
        members::{self, Acting, Reach},
    },
};

/// How many keys one transaction takes.
pub const BATCH: usize = 500;
/// Revoking more than these at once always asks for a code.
const WITHOUT_CODE: usize = 10;
/// How many of the keys the question names.
const NAMED: usize = 10;
/// How many keys may be ticked.
const MOST_TICKED: usize = 1_000;
const NOT_YOURS: &str = "not yours to change";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Locks them for a while.
    Disable,
    /// Lifts that.
    Enable,
    /// Stops them for good.
    Revoke,
    /// Removes revoked ones from the grid.
    Delete,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Disable, Self::Enable, Self::Revoke, Self::Delete];

    const fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Revoke => "revoke",
            Self::Delete => "delete",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Disable => "Disable",
            Self::Enable => "Enable",
            Self::Revoke => "Revoke",
            Self::Delete => "Delete",
        }
    }

    const fn past(self) -> &'static str {
        match self {
            Self::Disable => "disabled",
            Self::Enable => "enabled",
            Self::Revoke => "revoked",
            Self::Delete => "deleted",
        }
    }

    fn of(req: &HttpRequest) -> Option<Self> {
        let last = req.path().rsplit('/').next()?;
        Self::ALL.into_iter().find(|verb| verb.word() == last)
    }

    /// Why a key of this status is left as it is; `None` where the verb applies.
    const fn skips(self, status: Status) -> Option<&'static str> {
        match (self, status) {
            (Self::Revoke | Self::Disable, Status::Revoked) => Some("revoked already"),
            (Self::Disable, Status::Disabled) => Some("disabled already"),
            (Self::Enable, Status::Active | Status::Expired) => Some("not disabled"),
            (Self::Enable, Status::Revoked) => Some("revoked"),
            (Self::Delete, Status::Active | Status::Expired | Status::Disabled) => Some("not revoked"),
            _ => None,
        }
    }

    /// Whether the member may do it to every key of the tenant; else to their own.
    fn may_any(self, acting: &Acting) -> bool {
        match self {
            Self::Disable | Self::Revoke => acting.may(Permission::KeysRevokeAny),
            Self::Enable => acting.may(Permission::KeysManageAny),
            Self::Delete => acting.may(Permission::KeysManageAny) || (acting.may(Permission::KeysRevokeAny) && acting.tenant.settings.admins_delete),
        }
    }

    fn may(self, acting: &Acting, key: &Key) -> bool {
        match self {
            Self::Disable | Self::Revoke => acting.may_stop(key.owner),
            Self::Enable => acting.may_enable(key),
            Self::Delete => acting.may_delete(key.owner),
        }
    }

    fn needs_code(self, acting: &Acting, count: usize) -> bool {
        match self {
            Self::Revoke => count > WITHOUT_CODE,
            Self::Enable => acting.tenant.settings.code_actions.enable,
            Self::Disable | Self::Delete => false,
        }
    }

    fn asks_reason(self) -> bool {
        matches!(self, Self::Disable | Self::Revoke)
    }

    fn asks_number(self, count: usize) -> bool {
        count > 1 && matches!(self, Self::Revoke | Self::Delete)
    }

    fn act(self, tx: &mut Tx<'_>, by: &By, key: &Key, reason: &str, proof: Option<&CodeProof>) -> Result<(), KeyError> {
        match self {
            Self::Disable => actions::keys::disable(tx, by, key.id, reason).map(drop),
            Self::Enable => actions::keys::enable(tx, by, key.id, key.version, proof).map(drop),
            Self::Revoke => actions::keys::revoke(tx, by, key.id, reason).map(drop),
            // Only revoked ones: one that is not would be revoked on the way.
            Self::Delete if key.life.revoked_at.is_none() => Err(KeyError::Changed),
            Self::Delete => actions::keys::delete(tx, by, key.id, key.version).map(drop),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "key" } else { "keys" }
}

fn shown(count: usize) -> String {
    Count { number: count, or_more: false }.to_string()
}

/// Which keys are meant.
#[derive(Debug, Clone)]
struct Asked {
    all: bool,
    ticked: Vec<KeyId>,
    query: KeysQuery,
}

impl Asked {
    fn read(form: &Form) -> Result<Self, WebError> {
        let ticked: Vec<KeyId> = form.all("key").filter_map(KeyId::parse).collect();
        if ticked.len() > MOST_TICKED {
            return Err(WebError::BadRequest(format!("Choose {MOST_TICKED} keys or fewer, or all that match. Nothing was changed.")));
        }
        Ok(Self { all: form.checked("all"), ticked, query: KeysQuery::read(form) })
    }

    /// The fields that mean the same keys again.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.query.filter_fields();
        if self.all {
            fields.push(("all", "1".into()));
        } else {
            fields.extend(self.ticked.iter().map(|id| ("key", id.to_string())));
        }
        fields
    }
}

/// The keys that the verb applies to, and why others are left out.
#[derive(Debug, Clone, Default)]
struct Chosen {
    seqs: Vec<i64>,
    skipped: Vec<(usize, &'static str)>,
    named: Vec<Named>,
}

/// A key that the question names.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    id: String,
    used: String,
}

impl Chosen {
    fn skip(&mut self, why: &'static str) {
        match self.skipped.iter_mut().find(|(_, words)| *words == why) {
            Some((count, _)) => *count += 1,
            None => self.skipped.push((1, why)),
        }
    }

    /// Which keys these are, so that a later look can tell whether they are the same.
    fn hash(&self, verb: Verb) -> String {
        let mut seqs = self.seqs.clone();
        seqs.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(verb.word());
        for seq in seqs {
            hash.update(seq.to_be_bytes());
        }
        guard::hex(&hash.finalize()[..16])
    }
}

fn choose(db: &mut Db, acting: &Acting, asked: &Asked, verb: Verb, now: Time) -> Result<Chosen, StoreError> {
    let mut chosen = Chosen::default();
    let matches = if asked.all {
        let reach = if verb.may_any(acting) { acting.reach() } else { Reach::own(acting) };
        let view = View { reach: &reach, filter: &asked.query.filter, now, soon: acting.tenant.settings.expiring_soon() };
        grid::matching(db, &view)?
    } else {
        let found = keys::find_many(db, &acting.reach(), &asked.ticked)?;
        let mut matches = Vec::new();
        for key in &found {
            let status = key.life.status(now);
            if verb.skips(status).is_none() && !verb.may(acting, key) {
                chosen.skip(NOT_YOURS);
            } else {
                matches.push(Match { seq: key.seq, status });
            }
        }
        matches
    };
    for found in matches {
        match verb.skips(found.status) {
            None => chosen.seqs.push(found.seq),
            Some(why) => chosen.skip(why),
        }
    }
    let first: Vec<i64> = chosen.seqs.iter().take(NAMED).copied().collect();
    chosen.named = grid::keys(db, &acting.reach(), &first)?
        .into_iter()
        .map(|key| {
            let (when, _) = last_used(key.last_used.as_ref(), now);
            Named {
                name: key.name.to_string(),
                id: key.id.to_string(),
                used: if key.last_used.is_none() { "never used".into() } else { format!("used {when}") },
            }
        })
        .collect();
    Ok(chosen)
}

#[derive(Template)]
#[template(path = "keys/many.html")]
struct ManyBody<'a> {
    frame: &'a Frame,
    form: &'a Form,
    verb: Verb,
    fields: Vec<(&'static str, String)>,
    seen: String,
    count: String,
    chosen: &'a Chosen,
    more: usize,
    more_words: String,
    changed: bool,
    asks_number: bool,
    needs_code: bool,
}

impl ManyBody<'_> {
    fn is(&self, word: &str) -> bool {
        self.verb.word() == word
    }
}

fn question(member: &Member, form: &Form, verb: Verb, asked: &Asked, chosen: &Chosen, changed: bool) -> WebResult {
    let count = chosen.seqs.len();
    let words = format!("{} {} {}", verb.title(), shown(count), plural(count));
    let list = back(member, asked);
    let question = Question {
        asks: format!("{words}?"),
        action: member.url(&format!("/keys/{}", verb.word())),
        submit: words,
        danger: matches!(verb, Verb::Revoke | Verb::Delete),
        cancel: list.clone(),
        crumbs: vec![Link::new("API keys", list)],
        wide: false,
    };
    let more = count.saturating_sub(chosen.named.len());
    let body = ManyBody {
        frame: &member.frame,
        form,
        verb,
        fields: asked.fields(),
        seen: chosen.hash(verb),
        count: count.to_string(),
        chosen,
        more,
        more_words: format!("{} more {}", shown(more), plural(more)),
        changed,
        asks_number: verb.asks_number(count),
        needs_code: verb.needs_code(&member.acting, count),
    };
    ask_as(if changed { StatusCode::CONFLICT } else { status_of(form) }, &member.frame, &question, form, &body)
}

fn back(member: &Member, asked: &Asked) -> String {
    if member.may(Permission::KeysReadAny) {
        format!("{}{}", member.url("/keys"), asked.query.first().to_query())
    } else {
        own_keys_url(&member.acting)
    }
}

fn nothing(member: &Member, asked: &Asked, verb: Verb, chosen: &Chosen) -> WebResult {
    if !chosen.skipped.is_empty() && chosen.skipped.iter().all(|(_, why)| *why == NOT_YOURS) {
        return Err(WebError::Forbidden(format!("None of the chosen keys is yours to {}.", verb.word())));
    }
    let why: Vec<String> = chosen.skipped.iter().map(|(count, why)| format!("{} {why}", shown(*count))).collect();
    let words = if why.is_empty() {
        "Choose one key or more first.".to_owned()
    } else {
        format!("None of the chosen keys can be {}: {}.", verb.past(), why.join(", "))
    };
    done(&member.site, &member.frame, &words, &back(member, asked))
}

async fn chosen(member: &Member, asked: &Asked, verb: Verb) -> Result<Chosen, WebError> {
    if verb == Verb::Enable
        && let Err(refused) = member.acting.tenant.policy().keys_on()
    {
        return Err(WebError::Forbidden(refused.to_string()));
    }
    let (acting, asked, now) = (member.acting.clone(), asked.clone(), member.site.clock.now());
    let found: Result<Chosen, StoreError> = member.read(move |db, _| choose(db, &acting, &asked, verb, now)).await;
    Ok(found?)
}

/// The question, or how far a large one has come: `GET …/keys/revoke` and its like.
///
/// # Errors
/// See [`WebError`].
pub async fn confirm(member: Member, req: HttpRequest) -> WebResult {
    let verb = Verb::of(&req).ok_or(WebError::NotFound)?;
    let form = Form::from_query(&req)?;
    if form.checked("job") {
        return progress(&member, form.text("job"));
    }
    let asked = Asked::read(&form)?;
    let chosen = chosen(&member, &asked, verb).await?;
    if chosen.seqs.is_empty() {
        return nothing(&member, &asked, verb, &chosen);
    }
    question(&member, &Form::default(), verb, &asked, &chosen, false)
}

/// What a transaction did, or why the code was refused.
type Outcome = Result<(Option<CodeProof>, Batch), String>;

/// Does it: `POST …/keys/revoke` and its like.
///
/// # Errors
/// See [`WebError`].
pub async fn act(member: Member, req: HttpRequest, mut form: Form) -> WebResult {
    let verb = Verb::of(&req).ok_or(WebError::NotFound)?;
    form.only(&["key*", "all", "q", "owner", "access", "used", "status", "seen", "number", "reason", "totp"])?;
    let asked = Asked::read(&form)?;
    let chosen = chosen(&member, &asked, verb).await?;
    if chosen.seqs.is_empty() {
        return nothing(&member, &asked, verb, &chosen);
    }
    let count = chosen.seqs.len();
    // Without a `seen` the question was never shown; it is asked now.
    if form.text("seen") != chosen.hash(verb) {
        let is_new = form.text("seen").is_empty();
        return question(&member, &Form::default(), verb, &asked, &chosen, !is_new);
    }
    let reason = form.parse("reason", names::reason).unwrap_or_default();
    let typed: String = form.text("number").chars().filter(char::is_ascii_digit).collect();
    if verb.asks_number(count) && typed != count.to_string() {
        form.wrong("number", format!("Type {count}, the number of keys."));
    }
    let code = verb.needs_code(&member.acting, count).then(|| form.text("totp").to_owned());
    if code.as_deref().is_some_and(|code| code.trim().is_empty()) {
        form.wrong("totp", KeyError::NeedsCode);
    }
    if form.has_errors() {
        return question(&member, &form, verb, &asked, &chosen, false);
    }
    let reach = member.acting.reach();
    let seqs = chosen.seqs.clone();
    let is_large = count > BATCH;
    let first = if is_large { Vec::new() } else { seqs.clone() };
    let (batch_reason, account) = (reason.clone(), member.account.id);
    let outcome: Outcome = member
        .write(move |tx, by| -> Result<Outcome, StoreError> {
            let proof = match &code {
                // A wrong code is counted, so the transaction goes through.
                Some(code) => match credentials::confirm_code(tx, by, code)? {
                    Ok(proof) => Some(proof),
                    Err(wrong) => return Ok(Err(wrong.to_string())),
                },
                None => None,
            };
            let batch = run(tx, by, &reach, verb, &first, &batch_reason, proof.as_ref())?;
            Ok(Ok((proof, batch)))
        })
        .await
        .map_err(WebError::from)?;
    let (proof, batch) = match outcome {
        Ok(outcome) => outcome,
        Err(wrong) => {
            form.wrong("totp", wrong);
            return question(&member, &form, verb, &asked, &chosen, false);
        }
    };
    let list = back(&member, &asked);
    if !is_large {
        return done(&member.site, &member.frame, &batch.words(verb), &list);
    }
    let job = Arc::new(Job {
        tenant: member.acting.tenant.id,
        account,
        verb,
        total: count,
        done: AtomicUsize::new(0),
        skipped: AtomicUsize::new(0),
        state: AtomicU8::new(RUNNING),
        list,
    });
    let id = base62(20, &mut chance::fill);
    member.site.jobs.add(&id, &job);
    tokio::task::spawn(work(member.site.clone(), member.acting.tenant.slug.clone(), member.by().clone(), job, seqs, reason, proof));
    let url = format!("{}{}", member.url(&format!("/keys/{}", verb.word())), query(&[("job", id)]));
    Ok(see_other(&member.frame, &url))
}

/// What became of some keys.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    done: usize,
    skipped: usize,
}

impl Batch {
    fn words(self, verb: Verb) -> String {
        let mut words = format!("{} {} {}.", shown(self.done), plural(self.done), verb.past());
        if self.skipped > 0 {
            words.push_str(&format!(
                " {} changed meanwhile, or may not be changed by you, and {} left as {}.",
                shown(self.skipped),
                if self.skipped == 1 { "was" } else { "were" },
                if self.skipped == 1 { "it is" } else { "they are" }
            ));
        }
        words
    }
}

/// Does it to the keys that still stand where the question saw them; others are counted.
fn run(tx: &mut Tx<'_>, by: &By, reach: &Reach, verb: Verb, seqs: &[i64], reason: &str, proof: Option<&CodeProof>) -> Result<Batch, StoreError> {
    let mut batch = Batch::default();
    if seqs.is_empty() {
        return Ok(batch);
    }
    let keys = grid::keys(tx, reach, seqs)?;
    batch.skipped = seqs.len() - keys.len();
    for key in &keys {
        match verb.act(tx, by, key, reason, proof) {
            Ok(()) => batch.done += 1,
            Err(KeyError::Store(error)) => return Err(error),
            Err(_) => batch.skipped += 1,
        }
    }
    Ok(batch)
}

const RUNNING: u8 = 0;
const FINISHED: u8 = 1;
const FAILED: u8 = 2;

/// Something large that is being done.
#[derive(Debug)]
pub struct Job {
    tenant: TenantId,
    account: AccountId,
    verb: Verb,
    total: usize,
    done: AtomicUsize,
    skipped: AtomicUsize,
    state: AtomicU8,
    list: String,
}

/// What is being done, and what was done last.
#[derive(Debug, Default)]
pub struct Jobs(Mutex<HashMap<String, Arc<Job>>>);

impl Jobs {
    /// How many ended ones are remembered.
    const MOST: usize = 100;

    fn add(&self, id: &str, job: &Arc<Job>) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= Self::MOST {
            jobs.retain(|_, job| job.state.load(Ordering::Acquire) == RUNNING);
        }
        jobs.insert(id.to_owned(), Arc::clone(job));
    }

    fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

async fn work(site: Data<Site>, slug: String, by: By, job: Arc<Job>, seqs: Vec<i64>, reason: String, proof: Option<CodeProof>) {
    let proof = Arc::new(proof);
    for part in seqs.chunks(BATCH) {
        let (part, by, slug, reason, proof, job_of) = (part.to_vec(), by.clone(), slug.clone(), reason.clone(), Arc::clone(&proof), Arc::clone(&job));
        let batch: Result<Option<Batch>, StoreError> = site
            .write(move |tx| {
                // Whoever has lost the right meanwhile goes no further.
                let Some(acting) = members::acting(tx, &slug, job_of.account)? else { return Ok(None) };
                let reach = acting.reach();
                let by = By { now: tx.now(), who: Who::Member(Box::new(acting)), ..by };
                run(tx, &by, &reach, job_of.verb, &part, &reason, (*proof).as_ref()).map(Some)
            })
            .await;
        match batch {
            Ok(Some(batch)) => {
                job.done.fetch_add(batch.done, Ordering::AcqRel);
                job.skipped.fetch_add(batch.skipped, Ordering::AcqRel);
            }
            Ok(None) => return job.state.store(FAILED, Ordering::Release),
            Err(error) => {
                tracing::warn!(%error, verb = job.verb.word(), "a change of many keys ended early");
                return job.state.store(FAILED, Ordering::Release);
            }
        }
    }
    job.state.store(FINISHED, Ordering::Release);
}

#[derive(Template)]
#[template(path = "keys/progress.html")]
struct ProgressPage {
    frame: Frame,
    title: String,
    words: String,
    percent: usize,
    running: bool,
    failed: bool,
    list: String,
}

fn progress(member: &Member, id: &str) -> WebResult {
    let job = member.site.jobs.find(id).filter(|job| job.tenant == member.acting.tenant.id && job.account == member.account.id);
    let Some(job) = job else {
        // After a restart, or in another process: what was done is done, and what was not is not.
        let words = "How far this change came is not known here any more. The list shows what it did; ask again for the rest.";
        return done(&member.site, &member.frame, words, &member.url("/keys"));
    };
    let state = job.state.load(Ordering::Acquire);
    let batch = Batch { done: job.done.load(Ordering::Acquire), skipped: job.skipped.load(Ordering::Acquire) };
    if state == FINISHED {
        return done(&member.site, &member.frame, &batch.words(job.verb), &job.list);
    }
    let so_far = batch.done + batch.skipped;
    show(&ProgressPage {
        frame: member.frame.clone(),
        title: format!("{} {} {}", job.verb.title(), shown(job.total), plural(job.total)),
        words: format!("{} of {} done.", shown(so_far), shown(job.total)),
        percent: so_far * 100 / job.total.max(1),
        running: state == RUNNING,
        failed: state == FAILED,
        list: job.list.clone(),
    })
}
