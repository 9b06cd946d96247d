//! What the operator sets: `keyward.toml`, then `KEYWARD_…` in the environment, then flags; the later one wins.
//!
//! Unknown names are errors that suggest the nearest one, contradictions are refused at start, and a configuration prints itself
//! with secrets masked. Every setting here has an effect.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use actix_web::http::Uri;
use ipnet::IpNet;

/// The settings of the process.
#[derive(Clone)]
pub struct Config {
    /// Where `serve` listens.
    pub listen: SocketAddr,
    /// What links and recipes begin with; no slash at the end.
    pub public_url: String,
    /// `sqlite://path` or `postgres://…`.
    pub database_url: String,
    /// Where files of its own go.
    pub data_dir: PathBuf,
    /// Where the secret file is.
    pub secret_file: PathBuf,
    /// The peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How old a memory may be before verification stops answering from it.
    pub max_staleness: Duration,
    /// How long a session lasts without a request.
    pub session_idle: chrono::Duration,
    /// How long a session lasts in all.
    pub session_max: chrono::Duration,
    /// `acme.<tenant_domain>` leads to `<public_url>/t/acme`.
    pub tenant_domain: Option<String>,
    /// How the log is written.
    pub log: LogFormat,
    /// The mail server; without one, mails become files in the data folder.
    pub smtp_url: Option<String>,
    /// Whom mails come from: `Keyward <no-reply@keys.example.com>`.
    pub mail_from: String,
    shown: Vec<Shown>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    File(String),
    Environment,
    Flag,
}

#[derive(Clone)]
struct Shown {
    name: &'static str,
    value: String,
    origin: Origin,
}

/// Every setting, with what it is for.
pub const NAMES: [(&str, &str); 13] = [
    ("listen", "the address and port to listen on"),
    ("public_url", "how browsers and gateways reach Keyward; https unless the host is this machine"),
    ("database_url", "sqlite://path or postgres://user:password@host/name"),
    ("data_dir", "the folder of the SQLite database, its lock and the secret file"),
    ("secret_file", "the file without which no key verifies; beside the database unless set"),
    ("trusted_proxies", "the addresses or ranges whose X-Forwarded-For is believed"),
    ("max_staleness", "how long verification answers from memory without hearing from the database, 1s to 60s"),
    ("session_idle", "how long a session lasts without a request, at most 30m"),
    ("session_max", "how long a session lasts in all, at most 12h"),
    ("tenant_domain", "acme.<tenant_domain> leads to the pages of the tenant acme"),
    ("log", "text or json"),
    ("smtp_url", "the mail server: smtps://user:password@host, or smtp://… for STARTTLS; without one, mails become files in data_dir"),
    ("mail_from", "whom mails come from, such as Keyward <no-reply@keys.example.com>"),
];

/// Why a configuration is refused; each names the setting, where it stands, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("{0}: cannot be read: {1}")]
    Unreadable(String, String),
    #[error("{place}: there is no setting {name}{}", suggestion(.nearest.as_deref()))]
    Unknown { place: String, name: String, nearest: Option<String> },
    #[error("{place}: {name} {problem}")]
    Wrong { place: String, name: &'static str, problem: String },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "; `keyward config --help` lists them".into(), |nearest| format!("; did you mean {nearest}?"))
}

/// Text by name, with where it was found. Later sources replace earlier ones.
#[derive(Default)]
pub struct Sources {
    found: BTreeMap<&'static str, (String, Origin)>,
}

impl Sources {
    /// Takes the text of a `keyward.toml`; `place` is its name for messages.
    ///
    /// # Errors
    /// Not TOML, an unknown name, or a value that is neither text, number nor a list of text.
    pub fn file(mut self, place: &str, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Unreadable(place.into(), error.message().into()))?;
        for (name, value) in table {
            let name = known(&name, place, |nearest| nearest.into())?;
            let value = plain(&value).ok_or_else(|| wrong(place, name, "must be text or a list of texts"))?;
            self.found.insert(name, (value, Origin::File(place.into())));
        }
        Ok(self)
    }

    /// Takes the variables whose names begin with `KEYWARD_`.
    ///
    /// # Errors
    /// An unknown name.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        for (variable, value) in variables {
            if let Some(name) = variable.strip_prefix("KEYWARD_") {
                let as_variable = |nearest: &str| format!("KEYWARD_{}", nearest.to_uppercase());
                let name = known(&name.to_lowercase(), "environment", as_variable)?;
                self.found.insert(name, (value, Origin::Environment));
            }
        }
        Ok(self)
    }

    /// Takes a setting from the command line.
    ///
    /// # Errors
    /// An unknown name.
    pub fn flag(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let name = known(name, "command line", |nearest| nearest.into())?;
        self.found.insert(name, (value.into(), Origin::Flag));
        Ok(self)
    }

    /// The configuration that these sources make together.
    ///
    /// # Errors
    /// A value that cannot be, or two that contradict each other.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let mut values = Values { found: self.found, shown: Vec::new() };
        let listen: SocketAddr = values.take(
            "listen",
            || "127.0.0.1:8080".into(),
            |text| text.parse().map_err(|_| "must be an address with a port, such as 127.0.0.1:8080".into()),
        )?;
        let public_url = values.take("public_url", || format!("http://{listen}"), parse_public_url)?;
        let data_dir = values.take("data_dir", || "data".into(), |text| not_empty(text).map(PathBuf::from))?;
        let database_url =
            values.take_masked("database_url", || format!("sqlite://{}/keyward.db", data_dir.display()), parse_database_url, mask_password)?;
        let beside = match database_url.strip_prefix("sqlite://") {
            Some(path) => Path::new(path).parent().map_or_else(PathBuf::new, Path::to_path_buf),
            None => data_dir.clone(),
        };
        let secret_file =
            values.take("secret_file", || beside.join("keyward.secret").display().to_string(), |text| not_empty(text).map(PathBuf::from))?;
        let trusted_proxies = values.take("trusted_proxies", String::new, parse_ranges)?;
        let max_staleness = values.take("max_staleness", || "5s".into(), |text| between(text, 1, 60))?;
        let session_idle = values.take("session_idle", || "30m".into(), |text| between(text, 60, 1_800))?;
        let session_max = values.take("session_max", || "12h".into(), |text| between(text, 60, 43_200))?;
        if session_idle > session_max {
            return Err(values.wrong("session_idle", "is longer than session_max: a session would end before it is idle"));
        }
        let tenant_domain = values.take("tenant_domain", String::new, parse_domain)?;
        let log = values.take(
            "log",
            || "text".into(),
            |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err("must be text or json".into()),
            },
        )?;
        let smtp_url = values.take_masked("smtp_url", String::new, parse_smtp_url, mask_password)?;
        let mail_from = values.take("mail_from", || default_sender(&public_url), parse_sender)?;
        let chrono = |span: Duration| chrono::Duration::seconds(i64::try_from(span.as_secs()).unwrap_or_default());
        Ok(Config {
            listen,
            public_url,
            database_url,
            data_dir,
            secret_file,
            trusted_proxies,
            max_staleness,
            session_idle: chrono(session_idle),
            session_max: chrono(session_max),
            tenant_domain,
            log,
            smtp_url,
            mail_from,
            shown: values.shown,
        })
    }
}

impl Config {
    /// Reads `file` (`keyward.toml` where it exists, unless one is named), the environment and the flags.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new("keyward.toml"));
        let place = path.display().to_string();
        let mut sources = match std::fs::read_to_string(path) {
            Ok(text) => Sources::default().file(&place, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => Sources::default(),
            Err(error) => return Err(ConfigError::Unreadable(place, error.to_string())),
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        sources = sources.environment(variables)?;
        for (name, value) in flags {
            sources = sources.flag(name, value)?;
        }
        sources.into_config()
    }

    /// Whether browsers come over https, so that cookies are `Secure`.
    pub fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// The host of the public URL with its port, as browsers send it in `Host`.
    pub fn public_host(&self) -> &str {
        self.public_url.split_once("://").map_or("", |(_, host)| host)
    }
}

impl fmt::Display for Config {
    /// A `keyward.toml` that says where each value comes from, with secrets masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Shown { name, value, origin } in &self.shown {
            let origin = match origin {
                Origin::Default => "default".into(),
                Origin::File(place) => place.clone(),
                Origin::Environment => format!("KEYWARD_{}", name.to_uppercase()),
                Origin::Flag => "command line".into(),
            };
            writeln!(f, "{:<60} # {origin}", format!("{name} = {}", toml::Value::String(value.clone())))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

struct Values {
    found: BTreeMap<&'static str, (String, Origin)>,
    shown: Vec<Shown>,
}

impl Values {
    fn take<T>(
        &mut self,
        name: &'static str,
        default: impl FnOnce() -> String,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.take_masked(name, default, read, str::to_owned)
    }

    fn take_masked<T>(
        &mut self,
        name: &'static str,
        default: impl FnOnce() -> String,
        read: impl FnOnce(&str) -> Result<T, String>,
        mask: impl FnOnce(&str) -> String,
    ) -> Result<T, ConfigError> {
        let (text, origin) = self.found.remove(name).unwrap_or_else(|| (default(), Origin::Default));
        let text = text.trim();
        self.shown.push(Shown { name, value: mask(text), origin });
        read(text).map_err(|problem| self.wrong(name, &problem))
    }

    fn wrong(&self, name: &'static str, problem: &str) -> ConfigError {
        let origin = self.shown.iter().find(|shown| shown.name == name).map_or(&Origin::Default, |shown| &shown.origin);
        match origin {
            Origin::Default => wrong("configuration", name, problem),
            Origin::File(place) => wrong(place, name, problem),
            Origin::Environment => wrong("environment", name, problem),
            Origin::Flag => wrong("command line", name, problem),
        }
    }
}

fn wrong(place: &str, name: &'static str, problem: &str) -> ConfigError {
    ConfigError::Wrong { place: place.into(), name, problem: problem.into() }
}

fn known(name: &str, place: &str, shown: impl Fn(&str) -> String) -> Result<&'static str, ConfigError> {
    NAMES.iter().map(|(known, _)| *known).find(|known| *known == name).ok_or_else(|| {
        let nearest = NAMES.iter().map(|(known, _)| (distance(known, name), *known)).min();
        ConfigError::Unknown {
            place: place.into(),
            name: shown(name),
            nearest: nearest.filter(|(steps, known)| *steps <= known.len() / 2).map(|(_, known)| shown(known)),
        }
    })
}

/// How many letters must be changed, added or left out to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => items.iter().map(|item| item.as_str()).collect::<Option<Vec<_>>>().map(|items| items.join(", ")),
        _ => None,
    }
}

fn not_empty(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("must not be empty".into()) } else { Ok(text) }
}

fn parse_public_url(text: &str) -> Result<String, String> {
    let example = "must be a URL without a path, such as https://keys.example.com";
    let text = text.strip_suffix('/').unwrap_or(text).to_lowercase();
    let uri: Uri = text.parse().map_err(|_| example)?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(example.into()) };
    if text.contains(['@', '?', '#']) || uri.path().len() > 1 || text.matches('/').count() > 2 {
        return Err(example.into());
    }
    match scheme {
        "https" => Ok(text),
        "http" if is_this_machine(host) => Ok(text),
        "http" => Err(format!(
            "is {text}: http is for localhost only, where nobody can listen in. Set public_url to the https:// address of the proxy in front"
        )),
        _ => Err(example.into()),
    }
}

/// Whether a host name or address always means this very machine.
fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse_domain(text: &str) -> Result<Option<String>, String> {
    let text = text.to_lowercase();
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match text.as_str() {
        "" => Ok(None),
        domain if domain.split('.').all(is_label) => Ok(Some(text)),
        _ => Err("must be a host name, such as keys.example.com".into()),
    }
}

fn parse_database_url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() => Ok(text.into()),
        Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Ok(text.into()),
        _ => Err("must begin with sqlite:// and a path, or be a postgres:// address".into()),
    }
}

fn parse_smtp_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let example = "must be like smtps://user:password@smtp.example.com, or smtp://… for STARTTLS; write special characters of the password as %XX";
    let uri: Uri = text.parse().map_err(|_| example)?;
    let (Some(scheme @ ("smtp" | "smtps")), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(example.into()) };
    let has_log_in = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match (scheme, uri.query()) {
        (_, None) => Ok(Some(text.into())),
        ("smtp", Some("tls=none")) if has_log_in && !is_this_machine(host) => {
            Err("has a password that would travel in the clear: take tls=none away, or use smtps://".into())
        }
        ("smtp", Some("tls=none")) => Ok(Some(text.into())),
        _ => Err("may have no query but tls=none, with smtp://".into()),
    }
}

fn default_sender(public_url: &str) -> String {
    let host = public_url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let is_name = host.contains('.') && host.parse::<IpAddr>().is_err();
    format!("Keyward <no-reply@{}>", if is_name { &host } else { "localhost" })
}

fn parse_sender(text: &str) -> Result<String, String> {
    let parsed = text.parse::<lettre::message::Mailbox>();
    parsed.map(|_| text.to_owned()).map_err(|_| "must be an address, or a name with one in <>, such as Keyward <no-reply@keys.example.com>".into())
}

/// Hides the password of a `postgres://` address, wherever it stands.
fn mask_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| *scheme != "sqlite") else { return url.into() };
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split_once(':').map_or_else(|| user.into(), |(user, _)| format!("{user}:***"))),
        None => rest.into(),
    };
    let Some((address, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let query: Vec<_> = query.split('&').map(|pair| if pair.starts_with("password=") { "password=***" } else { pair }).collect();
    format!("{scheme}://{address}?{}", query.join("&"))
}

fn parse_ranges(text: &str) -> Result<Vec<IpNet>, String> {
    let parse = |item: &str| item.parse::<IpNet>().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
    text.split([',', ' '])
        .filter(|item| !item.is_empty())
        .map(|item| parse(item).ok_or_else(|| format!("has {item}, which is no address or range such as 10.0.0.0/8")))
        .collect()
}

/// A span such as `5s`, `30m` or `12h`, within bounds in seconds.
fn between(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    let example = || "must be a number with s, m or h, such as 30m".to_owned();
    let unit = text.chars().last().ok_or_else(example)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        _ => return Err(example()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| example())?;
    match count.checked_mul(factor) {
        Some(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("must be between {} and {}", span(least), span(most))),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
