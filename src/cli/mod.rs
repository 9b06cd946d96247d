//! The command line: a file a command. A refused command prints one line that says what to do, and exits with 1.

mod completions;
mod config;
mod demo;
mod doctor;
mod events;
mod migrate;
mod serve;
mod user;

use std::{fmt::Display, io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::{
    app::App,
    clock::Clock,
    config::{Config, LogFormat, NAMES},
};

#[derive(Parser)]
#[command(name = "keyward", version, about = "A self-hosted console for API keys", after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  keyward demo                     try it with made-up data on http://127.0.0.1:8080
  keyward serve                    serve; the first start prints the set-up link
  keyward doctor                   check database, clock, secret file and public URL
  keyward events verify            prove that no event was changed or removed";

#[derive(Subcommand)]
enum Command {
    /// Serve the console and the API
    #[command(after_help = serve::EXAMPLES)]
    Serve(Settings),
    /// Try it: made-up tenants, members and keys, then serve
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Bring the tables of the database up to this version, and end
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(Settings),
    /// Make an account, or help somebody back into theirs
    #[command(after_help = user::EXAMPLES)]
    User(user::User),
    /// Look after the audit log
    Events(events::Events),
    /// Print the configuration, secrets masked, and where each value comes from
    #[command(after_help = config::examples())]
    Config(Settings),
    /// Check database, clock, secret file, public URL and mail, and say what to do
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Doctor),
    /// Print completions for a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Completions),
}

/// What every command that opens the database takes; each flag wins over the environment, and that over the file.
#[derive(Args, Default)]
struct Settings {
    /// Read this file instead of ./keyward.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How browsers and gateways reach Keyward
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// <sqlite://path> or <postgres://…>; better in the environment where it holds a password
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The folder of the database and the secret file
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The file without which no key verifies
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// Whose X-Forwarded-For is believed
    #[arg(long, value_name = "RANGES")]
    trusted_proxies: Option<String>,
    /// How long verification answers from memory without hearing from the database
    #[arg(long, value_name = "SPAN")]
    max_staleness: Option<String>,
    /// How long a session lasts without a request
    #[arg(long, value_name = "SPAN")]
    session_idle: Option<String>,
    /// How long a session lasts in all
    #[arg(long, value_name = "SPAN")]
    session_max: Option<String>,
    /// acme.<domain> leads to the pages of the tenant acme
    #[arg(long, value_name = "DOMAIN")]
    tenant_domain: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
    /// The mail server, <smtps://host> or <smtp://host>; better in the environment where it holds a password
    #[arg(long, value_name = "URL")]
    smtp_url: Option<String>,
    /// Whom mails come from
    #[arg(long, value_name = "ADDRESS")]
    mail_from: Option<String>,
}

impl Settings {
    fn load(&self) -> Result<Config, Failure> {
        let values = [
            &self.listen,
            &self.public_url,
            &self.database_url,
            &self.data_dir,
            &self.secret_file,
            &self.trusted_proxies,
            &self.max_staleness,
            &self.session_idle,
            &self.session_max,
            &self.tenant_domain,
            &self.log,
            &self.smtp_url,
            &self.mail_from,
        ];
        let flags: Vec<_> = NAMES.iter().zip(values).filter_map(|((name, _), value)| value.clone().map(|value| (*name, value))).collect();
        Ok(Config::load(self.config.as_deref(), &flags)?)
    }

    fn open(&self) -> Result<App, Failure> {
        let config = self.load()?;
        log(config.log);
        Ok(App::open(config, Clock::System)?)
    }
}

/// Why a command ends, in one line.
#[derive(Debug)]
struct Failure(String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string().lines().collect::<Vec<_>>().join(" "))
    }
}

/// Runs the command of the process's arguments.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(settings) => serve::run(&settings),
        Command::Demo(demo) => demo::run(&demo),
        Command::Migrate(settings) => migrate::run(&settings),
        Command::User(user) => user::run(&user),
        Command::Events(events) => events::run(&events),
        Command::Config(settings) => config::run(&settings),
        Command::Doctor(settings) => doctor::run(&settings),
        Command::Completions(completions) => {
            completions::run(&completions, &mut Cli::command());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(line)) => {
            eprintln!("keyward: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the log to the standard error stream.
fn log(format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter("info,actix_server=warn,actix_web=warn");
    // Where a test or a second command has set one already, that one stays.
    let _ = match format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}
