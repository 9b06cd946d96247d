//! Who asks: [`SignedIn`] for pages of a person, [`Member`] for pages under `/t/{tenant}`. Both lead to the sign-in page where
//! nobody is signed in, and both carry the frame of the page.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::Method, web::Data};
use chrono::Duration;

use super::{
    error::WebError,
    installation_mail::MAIL,
    page::{Frame, Link, Person},
    site::{CookieName, Site},
};
use crate::{
    actions::{By, Who},
    domain::{ids::AccountId, permission::Permission, time::Time},
    store::{
        Db, StoreError, Tx,
        accounts::{self, Account},
        installation::InstallationReach,
        members::{self, Acting, Membership, Reach},
        outbox,
        sessions::{self, Session, Stage},
    },
};

/// How exactly the last use of a session is kept.
const SEEN_EVERY: Duration = Duration::seconds(20);
/// How long one may take to type a code.
const CODE_WITHIN: Duration = Duration::minutes(10);

/// A person with a session, however far its sign-in has come.
pub struct Arriving {
    /// What pages have at hand.
    pub site: Data<Site>,
    /// The session.
    pub session: Session,
    /// The account.
    pub account: Account,
    /// The tenants that the person is an active member of.
    pub tenants: Vec<Membership>,
    /// The member in the tenant that the request names, else in the one that was open last.
    pub acting: Option<Acting>,
    /// What surrounds the page.
    pub frame: Frame,
    by: By,
}

/// A person who is signed in.
pub struct SignedIn(Arriving);

/// A person who is signed in, as a member of the tenant in the path.
pub struct Member {
    /// What pages have at hand.
    pub site: Data<Site>,
    /// The account.
    pub account: Account,
    /// The member, the tenant, and what they may do.
    pub acting: Acting,
    /// What surrounds the page.
    pub frame: Frame,
    by: By,
}

/// The installation owner, signed in. For everybody else its pages do not exist.
pub struct Owner {
    /// What pages have at hand.
    pub site: Data<Site>,
    /// What surrounds the page.
    pub frame: Frame,
    reach: InstallationReach,
    by: By,
}

impl Owner {
    /// Reads from the database, across tenants.
    pub async fn read<T, E>(&self, f: impl FnOnce(&mut Db, &InstallationReach) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let reach = self.reach.clone();
        self.site.read(move |db| f(db, &reach)).await
    }

    /// Does something in one transaction, as the installation owner.
    pub async fn write<T, E>(&self, f: impl FnOnce(&mut Tx<'_>, &By) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        write(&self.site, self.by.clone(), f).await
    }

    /// Who asks, from where and when.
    pub fn by(&self) -> &By {
        &self.by
    }
}

impl std::ops::Deref for SignedIn {
    type Target = Arriving;

    fn deref(&self) -> &Arriving {
        &self.0
    }
}

impl Arriving {
    /// Reads from the database.
    pub async fn read<T, E>(&self, f: impl FnOnce(&mut Db) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.site.read(f).await
    }

    /// Does something in one transaction.
    pub async fn write<T, E>(&self, f: impl FnOnce(&mut Tx<'_>, &By) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        write(&self.site, self.by.clone(), f).await
    }

    /// Who asks, from where and when.
    pub fn by(&self) -> &By {
        &self.by
    }
}

impl Member {
    /// Reads from the database, within what the member may look at.
    pub async fn read<T, E>(&self, f: impl FnOnce(&mut Db, &Reach) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let reach = self.acting.reach();
        self.site.read(move |db| f(db, &reach)).await
    }

    /// Does something in one transaction, as this member.
    pub async fn write<T, E>(&self, f: impl FnOnce(&mut Tx<'_>, &By) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        write(&self.site, self.by.clone(), f).await
    }

    /// Who asks, from where and when.
    pub fn by(&self) -> &By {
        &self.by
    }

    /// Whether the member holds a permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.acting.may(permission)
    }

    /// Goes on only where the member holds a permission.
    ///
    /// # Errors
    /// 403 that names what is missing.
    pub fn needs(&self, permission: Permission) -> Result<(), WebError> {
        if self.may(permission) { Ok(()) } else { Err(self.forbidden(permission)) }
    }

    /// A refusal that names the permission.
    pub fn forbidden(&self, permission: Permission) -> WebError {
        let name = Permission::ALL.iter().find(|(p, _)| *p == permission).map_or("", |(_, name)| name);
        WebError::Forbidden(format!(
            "Your console roles in {} do not allow it: the permission “{name}” is missing. Nothing was changed. A tenant admin can give you a role that has it.",
            self.acting.tenant.name
        ))
    }

    /// An address under this tenant: `url("/keys")` is `/t/acme/keys`.
    pub fn url(&self, path: &str) -> String {
        format!("/t/{}{path}", self.acting.tenant.slug)
    }
}

async fn write<T, E>(site: &Site, by: By, f: impl FnOnce(&mut Tx<'_>, &By) -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    site.write(move |tx| {
        let by = By { now: tx.now(), ..by };
        f(tx, &by)
    })
    .await
}

/// The keyed hash that a session's cookie is stored as.
pub fn session_hash(site: &Site, cookie: &str) -> [u8; 32] {
    site.secrets.keyed("session", cookie.as_bytes())
}

struct Found {
    session: Session,
    account: Account,
    tenants: Vec<Membership>,
    acting: Option<Acting>,
    shut: bool,
    failed_mails: i64,
}

/// How long a failed mail is worth a word on every page.
const FAILED_WITHIN: Duration = Duration::days(7);

fn look_up(db: &mut Db, id: &[u8; 32], slug: Option<&str>, now: Time) -> Result<Option<Found>, StoreError> {
    let Some(session) = sessions::find(db, id)? else { return Ok(None) };
    let account = accounts::get(db, session.account)?;
    let tenants = members::memberships(db, account.id)?;
    let last =
        tenants.iter().find(|tenant| Some(tenant.tenant.number()) == account.last_tenant).or(tenants.first()).map(|tenant| tenant.slug.clone());
    let acting = match slug.map(str::to_owned).or(last) {
        // The installation owner is a member of no tenant, whatever a row says; a grid can be narrowed to a tenant all the same.
        Some(slug) if !account.installation_owner => members::acting(db, &slug, account.id)?,
        _ => None,
    };
    let shut = match &acting {
        Some(acting) => sessions::shut_since(db, acting.tenant.id, account.id)?.is_some_and(|at| session.created_at <= at),
        None => false,
    };
    let since = now - FAILED_WITHIN;
    let failed_mails = match (&acting, InstallationReach::of(&account)) {
        (Some(acting), _) if acting.may(Permission::SettingsManage) && !shut => outbox::failed_since(db, acting.tenant.id, since)?,
        (None, Some(reach)) => outbox::failed_since_of_installation(db, &reach, since)?,
        _ => 0,
    };
    Ok(Some(Found { session, account, tenants, acting, shut, failed_mails }))
}

async fn arrive(req: &HttpRequest) -> Result<(Arriving, bool), WebError> {
    let site = req.app_data::<Data<Site>>().cloned().ok_or_else(|| WebError::unexpected(&"pages without a site"))?;
    let cookie = site.cookie_of(req, CookieName::Session).ok_or(WebError::SignIn)?;
    let id = session_hash(&site, &cookie);
    let slug = req.match_info().get("tenant").map(str::to_owned).or_else(|| tenant_asked(req));
    let now = site.clock.now();
    let found = site.read(move |db| look_up(db, &id, slug.as_deref(), now)).await.map_err(|error: StoreError| WebError::from(error))?;
    let Found { session, account, tenants, acting, shut, failed_mails } = found.ok_or(WebError::SignIn)?;
    let (idle, most) = match session.stage {
        Stage::Code => (CODE_WITHIN, CODE_WITHIN),
        _ => (site.settings.session_idle, site.settings.session_max),
    };
    if now - session.seen_at >= idle || now - session.created_at >= most {
        return Err(WebError::SignIn);
    }
    let opened = acting.as_ref().filter(|_| !shut).map(|acting| acting.tenant.id).filter(|tenant| Some(tenant.number()) != account.last_tenant);
    if now - session.seen_at >= SEEN_EVERY || opened.is_some() {
        let account = account.id;
        let noted: Result<(), StoreError> = site
            .write(move |tx| {
                if let Some(tenant) = opened {
                    accounts::set_last_tenant(tx, account, tenant)?;
                }
                sessions::touch(tx, &id)
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "the last use of a session was not kept");
        }
    }
    let acting = acting.filter(|_| !shut);
    let mut frame = frame(req, &account, &tenants, acting.as_ref());
    frame.mail = match &acting {
        Some(acting) => acting.may(Permission::SettingsManage).then(|| (format!("/t/{}/mail", acting.tenant.slug), failed_mails)),
        None => account.installation_owner.then(|| (MAIL.to_owned(), failed_mails)),
    };
    let who = Who::Account { id: account.id, name: account.name.clone(), installation_owner: account.installation_owner };
    let by = By { who, address: site.address(req), user_agent: site.user_agent(req), now, session: Some(id) };
    Ok((Arriving { site, session, account, tenants, acting, frame, by }, shut))
}

/// The tenant that a page outside of `/t/` is asked to be about.
fn tenant_asked(req: &HttpRequest) -> Option<String> {
    serde_urlencoded::from_str::<Vec<(String, String)>>(req.query_string()).ok()?.into_iter().find(|(name, _)| name == "tenant").map(|(_, slug)| slug)
}

fn frame(req: &HttpRequest, account: &Account, tenants: &[Membership], acting: Option<&Acting>) -> Frame {
    let mut frame = Frame::bare(req);
    frame.theme.clone_from(&account.theme);
    frame.shortcuts = account.shortcuts;
    frame.has_totp = account.has_totp();
    let path = req.path();
    let roles = acting.map(|acting| acting.role_names.join(", ")).filter(|roles| !roles.is_empty());
    let line = match (roles, account.installation_owner) {
        (Some(roles), _) => format!("{} · {roles}", account.email),
        (None, true) => format!("{} · Installation owner", account.email),
        (None, false) => account.email.clone(),
    };
    frame.person = Some(Person { name: account.name.clone(), line, initials: initials(&account.name) });
    let current = acting.map(|acting| acting.tenant.slug.as_str());
    frame.tenants = tenants
        .iter()
        .map(|tenant| Link { label: tenant.name.clone(), url: format!("/t/{}", tenant.slug), current: current == Some(tenant.slug.as_str()) })
        .collect();
    frame.place = acting.map(|acting| acting.tenant.name.clone()).or_else(|| account.installation_owner.then(|| "Installation".to_owned()));
    frame.nav = match acting {
        Some(acting) => super::nav(acting, path),
        None if account.installation_owner => super::owner_nav(path),
        None => Vec::new(),
    };
    if let Some(acting) = acting {
        frame.profile = format!("/profile?tenant={}", acting.tenant.slug);
        frame.has_keys = acting.may(Permission::KeysManageOwn);
    }
    let home = frame.nav.first().cloned().unwrap_or_else(|| Link::new("Profile", frame.profile.clone()));
    (frame.home, frame.home_label) = (home.url, home.label);
    frame
}

/// First letters of the first and the last word.
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let first = words.next();
    first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).collect()
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, WebError>>>>;

impl FromRequest for Arriving {
    type Error = WebError;
    type Future = Answer<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move { Ok(arrive(&req).await?.0) })
    }
}

/// Lets only those through whose sign-in is complete; others are led to what is missing.
fn complete(arriving: &Arriving) -> Result<(), WebError> {
    match arriving.session.stage {
        Stage::Full => Ok(()),
        Stage::Code => Err(WebError::SignIn),
        Stage::Enrol => Err(WebError::Elsewhere("/profile/totp".into())),
        Stage::NewPassword => Err(WebError::Elsewhere("/profile/password".into())),
    }
}

impl FromRequest for SignedIn {
    type Error = WebError;
    type Future = Answer<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let (arriving, _) = arrive(&req).await?;
            complete(&arriving)?;
            arriving.frame.remember(&req);
            Ok(Self(arriving))
        })
    }
}

impl FromRequest for Member {
    type Error = WebError;
    type Future = Answer<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let (arriving, shut) = arrive(&req).await?;
            complete(&arriving)?;
            if shut {
                return Err(WebError::SignIn);
            }
            arriving.frame.remember(&req);
            let Arriving { site, account, acting, frame, by, .. } = arriving;
            let acting = acting.ok_or(WebError::NotFound)?;
            let may_open = acting.is_admin() && [Method::GET, Method::HEAD].contains(req.method());
            if acting.tenant.suspended_at.is_some() && !may_open {
                return Err(WebError::Forbidden(format!(
                    "{} is suspended: its keys are refused, and its admins may only look. The installation owner can bring it back.",
                    acting.tenant.name
                )));
            }
            let by = By { who: Who::Member(Box::new(acting.clone())), ..by };
            Ok(Self { site, account, acting, frame, by })
        })
    }
}

impl FromRequest for Owner {
    type Error = WebError;
    type Future = Answer<Self>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let (arriving, _) = arrive(&req).await?;
            complete(&arriving)?;
            arriving.frame.remember(&req);
            let reach = InstallationReach::of(&arriving.account).ok_or(WebError::NotFound)?;
            let Arriving { site, frame, by, .. } = arriving;
            Ok(Self { site, frame, reach, by })
        })
    }
}

/// The account of whoever is signed in, where somebody is.
pub async fn anyone(req: &HttpRequest) -> Option<AccountId> {
    let (arriving, _) = arrive(req).await.ok()?;
    complete(&arriving).ok().map(|()| arriving.account.id)
}
