//! What pages have at hand: the store, the clock, the secrets, and what the configuration says of addresses and cookies.

use std::{
    borrow::Cow,
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite},
    http::header,
};
use chrono::Duration;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::error::WebError;
use crate::{
    clock::Clock,
    domain::{ip_range::client_address, time::Time},
    secrets::Secrets,
    store::{Db, Store, StoreError, Tx},
};

/// How many passwords may wait for each one that is being checked.
const WAITING_PER_CORE: usize = 16;

/// How many mailed links a network may follow in a minute: a company's mail scanner follows all of a morning's.
const MOST_A_MINUTE: u32 = 300;
/// How often a network may ask for a link to set a new password in a minute.
const MOST_FORGOTTEN: u32 = 30;
/// How many networks are counted at a time.
const MOST_NETWORKS: usize = 100_000;

/// Requests by network, within one minute of the clock.
#[derive(Default)]
struct Pace(Mutex<(i64, HashMap<String, u32>)>);

impl Pace {
    fn count(&self, network: String, now: Time) -> u32 {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.timestamp().div_euclid(60);
        if counted.0 != minute || counted.1.len() >= MOST_NETWORKS {
            *counted = (minute, HashMap::new());
        }
        let times = counted.1.entry(network).or_default();
        *times += 1;
        *times
    }
}

/// What the configuration says that pages need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Without a path or slash at the end: `https://keys.example.com`.
    pub public_url: String,
    /// `acme.<tenant_domain>` leads to `/t/acme`.
    pub tenant_domain: Option<String>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a session lives without a request.
    pub session_idle: Duration,
    /// How long a session lives in all.
    pub session_max: Duration,
    /// Whether there is a mail server.
    pub sends_mail: bool,
}

/// What pages have at hand.
pub struct Site {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// The secret file.
    pub secrets: Arc<Secrets>,
    /// The configuration.
    pub settings: Settings,
    /// How often each network followed a mailed link in the last minute.
    pace: Pace,
    /// How often each network asked for a link to set a new password in the last minute.
    forgetting: Pace,
    /// Changes of many keys that run in the background.
    pub jobs: super::keys_many::Jobs,
    https: bool,
    host: String,
    cookie: String,
    hashing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// How pages look before anybody has signed in.
#[derive(Debug, Clone)]
pub struct Look {
    /// `system`, `light` or `dark`.
    pub theme: String,
    /// Whether keyboard shortcuts are on.
    pub shortcuts: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { theme: "system".into(), shortcuts: true }
    }
}

/// The cookies that pages use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieName {
    /// The session.
    Session,
    /// Ties forms to a browser before it has signed in.
    Before,
    /// A browser that has signed in to an account before.
    Known,
    /// The theme.
    Look,
    /// One message after a redirect.
    Flash,
    /// The links of expiry notices that were opened lately, so that their tokens need not stay in the address bar.
    Links,
}

impl Site {
    /// Puts it together.
    pub fn new(store: Store, clock: Clock, secrets: Arc<Secrets>, settings: Settings) -> Self {
        let https = settings.public_url.starts_with("https://");
        let host = settings.public_url.split_once("://").map_or("", |(_, host)| host).trim_end_matches('/').to_ascii_lowercase();
        let host = host.strip_suffix(if https { ":443" } else { ":80" }).unwrap_or(&host).to_owned();
        let port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or("80", |(_, port)| port);
        let cookie = if https { "__Host-keyward".to_owned() } else { format!("keyward-{port}") };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            store,
            clock,
            secrets,
            settings,
            pace: Pace::default(),
            forgetting: Pace::default(),
            jobs: super::keys_many::Jobs::default(),
            https,
            host,
            cookie,
            hashing: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(cores * (WAITING_PER_CORE + 1))),
        }
    }

    /// Reads from the database, off the async threads.
    pub async fn read<T, E>(&self, f: impl FnOnce(&mut Db) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let store = self.store.clone();
        joined(tokio::task::spawn_blocking(move || store.read(f)).await)
    }

    /// Runs `f` in one transaction, off the async threads.
    pub async fn write<T, E>(&self, f: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (store, now) = (self.store.clone(), self.clock.now());
        joined(tokio::task::spawn_blocking(move || store.write(now, f)).await)
    }

    /// Hashes or checks a password: as many at once as there are cores, a few waiting, the rest refused.
    pub async fn hashing<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<T, WebError> {
        // Who waits holds a place, and who hashes a turn. Both come back by themselves: a client may go away at any moment.
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| WebError::Busy)?;
        let turn = Arc::clone(&self.hashing).acquire_owned().await.map_err(|_| WebError::Busy)?;
        let hash = move || {
            let result = f();
            drop((turn, place));
            result
        };
        tokio::task::spawn_blocking(hash).await.map_err(|error| WebError::unexpected(&error))
    }

    /// For pages that anybody may ask for, and that read the database: counts the client's network.
    ///
    /// # Errors
    /// It has asked too often within a minute.
    pub fn slow_down(&self, req: &HttpRequest) -> Result<(), WebError> {
        let network = crate::actions::sign_in::network(self.address(req));
        if self.pace.count(network, self.clock.now()) > MOST_A_MINUTE { Err(WebError::TooMany) } else { Ok(()) }
    }

    /// As [`Site::slow_down`], for asking for a link to set a new password.
    ///
    /// # Errors
    /// It has asked too often within a minute.
    pub fn slow_down_forgetting(&self, req: &HttpRequest) -> Result<(), WebError> {
        let network = crate::actions::sign_in::network(self.address(req));
        if self.forgetting.count(network, self.clock.now()) > MOST_FORGOTTEN { Err(WebError::TooMany) } else { Ok(()) }
    }

    /// Whether the console is reached by https.
    pub fn https(&self) -> bool {
        self.https
    }

    /// The header that keeps browsers on https, where the console is reached by it.
    pub fn only_https(&self) -> Option<(header::HeaderName, header::HeaderValue)> {
        self.https.then(|| (header::STRICT_TRANSPORT_SECURITY, header::HeaderValue::from_static("max-age=31536000")))
    }

    /// `public_url` as a browser sends it in `Origin`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.host)
    }

    /// Host and port of `public_url`, without a default port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A cookie's name.
    pub fn cookie_name(&self, name: CookieName) -> String {
        let ending = match name {
            CookieName::Session => "",
            CookieName::Before => "-before",
            CookieName::Known => "-known",
            CookieName::Look => "-look",
            CookieName::Flash => "-flash",
            CookieName::Links => "-links",
        };
        format!("{}{ending}", self.cookie)
    }

    /// What a request carries in a cookie.
    pub fn cookie_of(&self, req: &HttpRequest, name: CookieName) -> Option<String> {
        req.cookie(&self.cookie_name(name)).map(|cookie| cookie.value().to_owned()).filter(|value| !value.is_empty() && value.len() <= 1024)
    }

    /// A cookie for this browser alone, out of reach of scripts and other sites; without `days` it ends with the browser.
    pub fn make_cookie(&self, name: CookieName, value: impl Into<String>, days: Option<i64>) -> Cookie<'static> {
        let mut cookie = Cookie::build(self.cookie_name(name), value.into()).path("/").http_only(true).secure(self.https).same_site(SameSite::Lax);
        if let Some(days) = days {
            cookie = cookie.max_age(actix_web::cookie::time::Duration::days(days));
        }
        cookie.finish()
    }

    /// Takes a cookie away.
    pub fn drop_cookie(&self, name: CookieName) -> Cookie<'static> {
        let mut cookie = self.make_cookie(name, "", None);
        cookie.set_max_age(actix_web::cookie::time::Duration::ZERO);
        cookie
    }

    /// The theme and the shortcuts that this browser chose.
    pub fn look(&self, req: &HttpRequest) -> Look {
        let value = self.cookie_of(req, CookieName::Look).unwrap_or_default();
        let (theme, keys) = value.split_once('.').unwrap_or((&value, ""));
        let theme = ["light", "dark"].into_iter().find(|known| *known == theme).unwrap_or("system");
        Look { theme: theme.into(), shortcuts: keys != "off" }
    }

    /// Keeps theme and shortcuts in this browser.
    pub fn look_cookie(&self, look: &Look) -> Cookie<'static> {
        let keys = if look.shortcuts { "on" } else { "off" };
        self.make_cookie(CookieName::Look, format!("{}.{keys}", look.theme), Some(400))
    }

    /// The client's address: the peer's, or what a trusted proxy says.
    pub fn address(&self, req: &HttpRequest) -> Option<IpAddr> {
        let peer = req.peer_addr()?.ip().to_canonical();
        // A client may put any bytes before what the proxies add.
        let lines: Vec<Cow<'_, str>> = req.headers().get_all("x-forwarded-for").map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        client_address(peer, lines.iter().map(AsRef::as_ref), &self.settings.trusted_proxies).or(Some(peer))
    }

    /// The client's user agent, cut to 200 characters, without control characters.
    pub fn user_agent(&self, req: &HttpRequest) -> String {
        let text = req.headers().get(header::USER_AGENT).map(header::HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

fn joined<T, E: From<StoreError>>(result: Result<Result<T, E>, tokio::task::JoinError>) -> Result<T, E> {
    result.unwrap_or_else(|error| Err(StoreError::Row(format!("a query ended early: {error}")).into()))
}
