//! `keyward demo`: made-up tenants, members and keys, printed with their passwords, then served. A folder keeps its demo: the
//! next start serves the same one.

mod dice;
mod history;
mod keys;
mod people;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Failure, log, serve};
use crate::{
    app::App,
    clock::Clock,
    config::{LogFormat, Sources},
    domain::totp::Seed,
};

pub const EXAMPLES: &str = "Examples:
  keyward demo
  keyward demo --data /tmp/keyward --listen 127.0.0.1:9000
  keyward demo --data /tmp/large --keys 1000000
  keyward demo --json | head -1 | jq .accounts";

#[derive(clap::Args)]
pub struct Demo {
    /// The folder of the demo; one that holds a demo serves that one again
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    data: PathBuf,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// How many keys to make
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(100..=5_000_000))]
    keys: u32,
    /// Print one JSON object instead of words, as the first line
    #[arg(long)]
    json: bool,
}

/// Who can sign in, and what to try; kept in the folder, for the next start.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Made {
    url: String,
    accounts: Vec<Account>,
    gateway_credential: String,
    management_token: String,
    sample_token: String,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Account {
    email: String,
    password: String,
    totp_secret: Option<String>,
    tenant: Option<String>,
    roles: Vec<String>,
}

/// The file that marks a folder as a demo's.
const MARK: &str = "demo.json";

pub fn run(args: &Demo) -> Result<(), Failure> {
    log(LogFormat::Text);
    let config = |listen: &str| {
        let data = args.data.to_str().ok_or("the name of the folder is not UTF-8")?;
        Ok::<_, Failure>(Sources::default().flag("data_dir", data)?.flag("listen", listen)?.into_config()?)
    };
    // Port 0 asks for any free one, and links need to know which.
    let listener = serve::listen(&config(&args.listen)?)?;
    let config = config(&listener.local_addr()?.to_string())?;
    let mark = args.data.join(MARK);
    let database = args.data.join("keyward.db");
    if database.exists() && !mark.exists() {
        return Err(
            format!("{} holds a database that is no whole demo: choose another folder with --data, or delete this one", args.data.display()).into()
        );
    }
    let _lock = serve::lock(&config)?;
    let app = App::open(config, Clock::System)?;
    let mut made = if mark.exists() { read(&mark)? } else { fill(&app, args, &mark)? };
    made.url.clone_from(&app.config.public_url);
    if args.json {
        println!("{}", serde_json::to_string(&made)?);
    } else {
        print!("{}", words(&made, &app, args));
    }
    std::io::stdout().flush()?;
    serve::until_stopped(&app, listener)
}

fn fill(app: &App, args: &Demo, mark: &Path) -> Result<Made, Failure> {
    if !args.json {
        println!("Making {} keys in {} …", args.keys, args.data.display());
    }
    let people = people::make(app)?;
    let tokens = keys::make(app, &people, args.keys)?;
    let made = Made {
        url: app.config.public_url.clone(),
        accounts: people.accounts.clone(),
        gateway_credential: tokens.gateway,
        management_token: tokens.management,
        sample_token: tokens.sample,
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(mark)?;
    file.write_all(serde_json::to_string_pretty(&made)?.as_bytes())?;
    Ok(made)
}

fn read(mark: &Path) -> Result<Made, Failure> {
    Ok(serde_json::from_str(&fs::read_to_string(mark)?).map_err(|error| format!("{}: {error}; delete the folder for a new demo", mark.display()))?)
}

fn words(made: &Made, app: &App, args: &Demo) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let _ = writeln!(text, "\nKeyward is at {}\n\nSign in as", made.url);
    for account in &made.accounts {
        let place = account.tenant.as_deref().map_or_else(String::new, |tenant| format!(" in {tenant}"));
        let _ = writeln!(text, "  {:<36} {}  {}{place}", account.email, account.password, account.roles.join(", "));
    }
    let now = app.clock.now();
    let _ = writeln!(text, "\nCodes that are valid now (add the secret to an authenticator app, or run oathtool --totp -b SECRET)");
    for account in &made.accounts {
        if let Some(secret) = &account.totp_secret {
            let code = Seed::from_base32(secret).map(|seed| seed.code_at(now)).unwrap_or_default();
            let _ = writeln!(text, "  {:<36} {code}  {secret}", account.email);
        }
    }
    let _ = writeln!(text, "\nAsk as a gateway does");
    let _ = writeln!(text, "  curl -i '{}/api/v1/auth?scope=shipments:read' \\", made.url);
    let _ = writeln!(text, "    -H 'X-Keyward-Gateway: {}' \\", made.gateway_credential);
    let _ = writeln!(text, "    -H 'Authorization: Bearer {}'", made.sample_token);
    let _ = writeln!(text, "\nThe demo stays in {}; delete the folder for a new one. Stop with Ctrl-C.", args.data.display());
    text
}
