//! `keyward serve`: the console and the API, until SIGTERM or SIGINT; running requests end first.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    net::TcpListener,
    path::Path,
    sync::Arc,
};

use super::{Failure, Settings, log};
use crate::{
    actions::set_up,
    app::App,
    clock::Clock,
    config::Config,
    domain::time::date_time,
    store::{Address, StoreError},
};

pub const EXAMPLES: &str = "Examples:
  keyward serve
  keyward serve --public-url https://keys.example.com --trusted-proxies 10.0.0.0/8
  keyward serve --database-url sqlite:///srv/keyward/keyward.db
  KEYWARD_DATABASE_URL=postgres://keyward:password@db/keyward keyward serve";

pub fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load()?;
    log(config.log);
    let _lock = lock(&config)?;
    let listener = listen(&config)?;
    let app = App::open(config, Clock::System)?;
    set_up_link(&app)?;
    tracing::info!("Keyward listens on {} as {}", app.config.listen, app.config.public_url);
    until_stopped(&app, listener)
}

/// While there is no installation owner, each start prints a new set-up link; earlier ones die.
fn set_up_link(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    let token = app.store.write(now, |tx| -> Result<_, StoreError> { set_up::start(tx) })?;
    if let Some(token) = token {
        println!("Nobody looks after this installation yet. Set it up here, until {}:", date_time(now + chrono::Duration::hours(1)));
        println!("{}/setup/{}", app.config.public_url, token.reveal());
        io::stdout().flush()?;
    }
    Ok(())
}

/// Takes the address.
pub fn listen(config: &Config) -> Result<TcpListener, Failure> {
    TcpListener::bind(config.listen).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!("{} is in use: stop what listens there, or choose another with --listen", config.listen).into(),
        _ => format!("cannot listen on {}: {error}", config.listen).into(),
    })
}

/// One process serves an SQLite database: its memory of keys is told of changes within a second only through that process.
/// The lock lasts as long as the file is open.
pub fn lock(config: &Config) -> Result<Option<File>, Failure> {
    let Address::Sqlite(path) = Address::parse(&config.database_url)? else { return Ok(None) };
    let path = Path::new(&path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    }
    let name = path.with_extension("lock");
    let file = File::options().create(true).append(true).open(&name).map_err(|error| format!("cannot open {}: {error}", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another keyward serves {} already: stop it first, or use PostgreSQL for several at once", path.display()).into())
        }
        Err(TryLockError::Error(error)) => Err(format!("cannot lock {}: {error}", name.display()).into()),
    }
}

/// Serves until the process is told to stop, then writes down what is still in memory.
pub fn until_stopped(app: &App, listener: TcpListener) -> Result<(), Failure> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let sending = Arc::clone(&app.post).start(matches!(app.store.address(), Address::Sqlite(_)));
    let at_work = (app.resets.start(), app.timetable.start());
    let served: io::Result<()> = actix_web::rt::System::new().block_on(async { app.serve(listener, workers)?.await });
    drop(at_work);
    drop(sending);
    app.stop();
    served?;
    tracing::info!("stopped; every running request was answered");
    Ok(())
}
