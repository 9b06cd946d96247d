//! `keyward doctor`: checks what has to be right around Keyward, and says what to do.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use super::{Failure, Settings};
use crate::{
    clock::Clock,
    config::Config,
    domain::time::date_time,
    secrets::Secrets,
    store::{Store, StoreError, accounts},
};

pub const EXAMPLES: &str = "Examples:
  keyward doctor
  keyward doctor --database-url postgres://db/keyward";

/// What a check found: well, or what is wrong and what to do.
type Finding = Result<String, String>;

pub fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load()?;
    let checks: [(&str, Finding); 4] =
        [("Database", database(&config)), ("Clock", clock(&config)), ("Secret file", secret_file(&config)), ("Public URL", public_url(&config))];
    let mut wrong = 0;
    for (what, finding) in &checks {
        match finding {
            Ok(good) => println!("ok       {what}: {good}"),
            Err(problem) => {
                wrong += 1;
                println!("problem  {what}: {problem}");
            }
        }
    }
    match wrong {
        0 => Ok(()),
        1 => Err("1 problem was found; what to do stands above".into()),
        n => Err(format!("{n} problems were found; what to do stands above").into()),
    }
}

fn store(config: &Config) -> Result<Store, String> {
    if let Some(path) = config.database_url.strip_prefix("sqlite://")
        && !std::path::Path::new(path).exists()
    {
        return Err(format!("{path} does not exist; `keyward serve` makes it, or set database_url"));
    }
    Store::open(&config.database_url, std::sync::Arc::new(Secrets::fresh(&[0; 128]))).map_err(|error| error.to_string())
}

fn database(config: &Config) -> Finding {
    let store = store(config)?;
    let kind = if config.database_url.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" };
    match store.read(|db| -> Result<_, StoreError> { Ok((crate::store::is_untouched(db)?, accounts::has_installation_owner(db)?)) }) {
        Ok((true, _)) => Ok(format!("{kind}, empty; `keyward serve` prints the set-up link")),
        Ok((false, false)) => Ok(format!("{kind}, without an installation owner; `keyward serve` prints the set-up link")),
        Ok((false, true)) => Ok(format!("{kind}, set up")),
        Err(StoreError::Query(_)) => Err("it has no tables of this version; run `keyward migrate`".into()),
        Err(error) => Err(format!("{error}; check database_url, and that the server runs")),
    }
}

fn clock(config: &Config) -> Finding {
    let now = Clock::System.now();
    let newest = store(config)?.read(crate::store::newest_moment).unwrap_or_default();
    match newest {
        Some(at) if at > now + chrono::Duration::seconds(5) => Err(format!(
            "it says {}, but the database has a change of {}; set the clock, with chrony or systemd-timesyncd",
            date_time(now),
            date_time(at)
        )),
        _ => Ok(date_time(now)),
    }
}

fn secret_file(config: &Config) -> Finding {
    let shown = config.secret_file.display();
    match fs::metadata(&config.secret_file) {
        Err(_)
            if store(config).and_then(|store| store.read(crate::store::is_untouched).map_err(|error: StoreError| error.to_string())) != Ok(false) =>
        {
            Ok(format!("{shown} will be made by `keyward serve`"))
        }
        Err(error) => Err(format!("{shown}: {error}; restore it from the backup, without it nothing verifies")),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => Err(format!("others can read {shown}; run chmod 600 {shown}")),
        Ok(_) => match Secrets::open(&config.secret_file, false) {
            Ok(_) => Ok(format!("{shown}; keep a copy apart from the database")),
            Err(error) => Err(error.to_string()),
        },
    }
}

fn public_url(config: &Config) -> Finding {
    let url = &config.public_url;
    let host = config.public_host();
    let with_port =
        |port| if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { host.to_owned() } else { format!("{host}:{port}") };
    let address = with_port(if config.is_https() { 443 } else { 80 });
    let found = address.to_socket_addrs().map_err(|error| format!("{url}: {error}; check the name and the DNS"))?.next();
    let found = found.ok_or_else(|| format!("{url} has no address; check the DNS"))?;
    let mut stream = TcpStream::connect_timeout(&found, Duration::from_secs(3))
        .map_err(|error| format!("nothing answers at {url} ({error}); start `keyward serve`, or the proxy in front"))?;
    if config.is_https() {
        return Ok(format!("{url} answers"));
    }
    let answer =
        ask_health(&mut stream, host).map_err(|error| format!("{url} does not answer as Keyward does ({error}); check who listens there"))?;
    if answer.starts_with("HTTP/1.1 200") { Ok(format!("{url} answers")) } else { Err(format!("{url} is not Keyward; check who listens there")) }
}

fn ask_health(stream: &mut TcpStream, host: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(16_384).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
