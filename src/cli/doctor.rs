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
    chance,
    clock::{Clock, Skew},
    config::Config,
    domain::{
        time::{date_time, days},
        token::base62,
    },
    jobs::deliver::host_of,
    mail::{Header, Letter, Mailer, Refusal},
    secrets::Secrets,
    store::{Store, StoreError, accounts, outbox},
};

pub const EXAMPLES: &str = "Examples:
  keyward doctor
  keyward doctor --mail-to you@example.com
  keyward doctor --database-url postgres://db/keyward";

/// What a check found: well, or what is wrong and what to do.
type Finding = Result<String, String>;

#[derive(clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    settings: Settings,
    /// Where the test mail goes; to mail_from itself unless given
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
}

pub fn run(args: &Doctor) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let checks: [(&str, Finding); 6] = [
        ("Database", database(&config)),
        ("Clock", clock(&config)),
        ("Secret file", secret_file(&config)),
        ("Public URL", public_url(&config)),
        ("Mail", mail(&config, args.mail_to.as_deref())),
        ("Mails sent", sent(&config)),
    ];
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
    let store = store(config)?;
    let skew = store.read(|db| crate::store::skew::ahead_of(db, &|| Clock::System.now())).unwrap_or_default().map_or(0, |by| by.num_seconds().abs());
    let now = Clock::System.now();
    if skew > Skew::MOST {
        return Err(format!(
            "it says {}, {skew} s from the database server's, so this machine is not ready to answer; set both clocks, with chrony or systemd-timesyncd",
            date_time(now)
        ));
    }
    match store.read(crate::store::newest_moment).unwrap_or_default() {
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

/// Sends a test mail, as `serve` would.
fn mail(config: &Config, to: Option<&str>) -> Finding {
    let folder = config.data_dir.join("mail");
    let host = host_of(&config.public_url);
    let mailer = Mailer::new(config.smtp_url.as_deref(), &folder, host).map_err(|error| error.to_string())?;
    if mailer.folder().is_some() {
        return Ok(format!("no smtp_url is set, so mails become files in {}", folder.display()));
    }
    let own = config.mail_from.rsplit_once('<').map_or(config.mail_from.as_str(), |(_, address)| address.trim_end_matches('>'));
    let to = to.unwrap_or(own);
    let letter = Letter {
        subject: "Test mail of Keyward".into(),
        heading: "Mail works".into(),
        paragraphs: vec![format!("keyward doctor sent this from {}. Links in mails lead to {}.", config.mail_from, config.public_url)],
        why: "You get this because somebody ran keyward doctor.".into(),
        ..Letter::default()
    };
    let header = Header {
        from: &config.mail_from,
        to,
        name: "",
        at: Clock::System.now(),
        message_id: format!("<doctor.{}@{host}>", base62(16, &mut chance::fill)),
        list: format!("test.keyward.{host}"),
        unsubscribe: None,
    };
    let message = letter.message(&header)?;
    match mailer.send(&message, "doctor") {
        Ok(said) => Ok(format!("a test mail went to {to}; the server said {said}")),
        Err(refusal) => Err(format!("the test mail to {to} was not taken: {}; {}", refusal.words, advice(&refusal))),
    }
}

/// What to do about a refusal.
fn advice(refusal: &Refusal) -> &'static str {
    let words = refusal.words.to_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    if has(&["535", "534", "530", "538", "authentication"]) {
        "check user and password in smtp_url; special characters of the password are written as %XX"
    } else if has(&["certificate", "unknownissuer", "notvalidforname"]) {
        "check that the host in smtp_url is the name in the server’s certificate, and that this machine trusts who issued it (SSL_CERT_FILE may name its file)"
    } else if has(&["starttls", "tls", "corrupt message", "invalid message"]) {
        "the server speaks TLS otherwise: smtps:// is TLS from the start (port 465), smtp:// is STARTTLS (port 587), and ?tls=none is for a relay that you trust the way to"
    } else if has(&["did not answer", "timed out"]) {
        "check host and port in smtp_url, and that no firewall stands between"
    } else if has(&["connection", "lookup", "resolve", "name or service", "refused"]) && !refusal.is_final {
        "check host and port in smtp_url, and that the server runs"
    } else if refusal.is_final {
        "check mail_from, and the address that the mail was for; --mail-to names another"
    } else {
        "the server asks to try again later"
    }
}

/// Whether mails of late were given up.
fn sent(config: &Config) -> Finding {
    let since = Clock::System.now() - days(7);
    match store(config).map(|store| store.read(|db| -> Result<_, StoreError> { outbox::all_failed_since(db, since) })) {
        Ok(Ok(0)) => Ok("none failed within a week".into()),
        Ok(Ok(1)) => Err("1 mail failed within a week; the Mail page of its tenant says why, and sends it again".into()),
        Ok(Ok(count)) => Err(format!("{count} mails failed within a week; the Mail pages of the tenants say why, and send them again")),
        Ok(Err(_)) | Err(_) => Ok("the database cannot be asked, see above".into()),
    }
}
