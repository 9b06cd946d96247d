//! Puts the parts together: the only place where they meet. Tests build the same App as the program.

use std::{io, net::TcpListener, sync::Arc};

use actix_web::{App as Actix, HttpServer, dev::Server, web::Data};

use crate::{
    api::{self, verify::Gate},
    clock::{Clock, Skew},
    config::Config,
    jobs::{
        Timetable,
        deliver::{self, Post},
        resets::Resets,
    },
    mail::{Mailer, SetUpError},
    secrets::{Secrets, SecretsError},
    store::{Store, StoreError},
    verify::{Limits, Verifier},
    web::{self, site::Site},
};

/// Everything that one process has.
#[derive(Clone)]
pub struct App {
    /// The settings of the process.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The secret file.
    pub secrets: Arc<Secrets>,
    /// The time.
    pub clock: Clock,
    /// What pages have at hand.
    pub site: Data<Site>,
    /// What the verify calls have at hand.
    pub gate: Data<Gate>,
    /// How far the clock is off.
    pub skew: Data<Skew>,
    /// What sends mails.
    pub post: Arc<Post>,
    /// What writes the mails for forgotten passwords.
    pub resets: Arc<Resets>,
    /// What else happens by itself.
    pub timetable: Arc<Timetable>,
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("cannot make the folder {path}: {source}")]
    Folder { path: String, source: io::Error },
    #[error(transparent)]
    Mail(#[from] SetUpError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
}

impl App {
    /// Opens the secret file and the database, and brings the tables up to date. A database that was set up before needs the
    /// secret file that it was set up with.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        for folder in [Some(config.data_dir.as_path()), config.secret_file.parent()].into_iter().flatten() {
            std::fs::create_dir_all(folder).map_err(|source| StartError::Folder { path: folder.display().to_string(), source })?;
        }
        // The first connection needs no secret; whether there is anything to lose decides if a new file may be made.
        let bare = Store::open(&config.database_url, Arc::new(Secrets::fresh(&[0; 128])))?;
        bare.migrate()?;
        let is_new = bare.read(crate::store::is_untouched)?;
        let secrets = Arc::new(Secrets::open(&config.secret_file, is_new)?);
        let store = Store::open(&config.database_url, Arc::clone(&secrets))?;
        Self::with(config, store, secrets, clock)
    }

    /// Puts opened parts together.
    ///
    /// # Errors
    /// The mail server's address cannot be used.
    pub fn with(config: Config, store: Store, secrets: Arc<Secrets>, clock: Clock) -> Result<Self, StartError> {
        let host = deliver::host_of(&config.public_url);
        let folder = config.data_dir.join("mail");
        let mailer = Mailer::new(config.smtp_url.as_deref(), &folder, host)?;
        let (url, from) = (config.public_url.clone(), config.mail_from.clone());
        let post = Arc::new(Post::new(store.clone(), clock.clone(), Arc::clone(&secrets), mailer, url, from));
        let settings = web::site::Settings {
            public_url: config.public_url.clone(),
            tenant_domain: config.tenant_domain.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            session_idle: config.session_idle,
            session_max: config.session_max,
            sends_mail: config.smtp_url.is_some(),
        };
        let site = Data::new(Site::new(store.clone(), clock.clone(), Arc::clone(&secrets), settings));
        let limits = Limits { max_staleness: config.max_staleness, ..Limits::default() };
        let verifier = Verifier::new(store.clone(), Arc::clone(&secrets), clock.clone(), limits);
        verifier.obey_commits();
        let gate = Data::new(Gate { verifier, trusted_proxies: config.trusted_proxies.clone().into() });
        let skew = Data::new(Skew::default());
        let resets = Arc::new(Resets::new(store.clone(), clock.clone()));
        let timetable = Arc::new(Timetable::new(store.clone(), clock.clone(), Arc::clone(&skew), folder));
        Ok(Self { config, store, secrets, clock, site, gate, skew, post, resets, timetable })
    }

    /// Serves on a listening socket until the server is stopped; SIGTERM and SIGINT let running requests end.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn serve(&self, listener: TcpListener, workers: usize) -> io::Result<Server> {
        self.gate.verifier.start();
        let app = self.clone();
        let server = HttpServer::new(move || {
            let app = app.clone();
            Actix::new().app_data(app.site.clone()).app_data(app.gate.clone()).app_data(app.skew.clone()).configure(api::routes).configure(web::pages)
        })
        .workers(workers)
        .shutdown_timeout(10)
        .client_request_timeout(std::time::Duration::from_secs(5))
        .keep_alive(std::time::Duration::from_secs(75))
        .max_connections(10_000)
        .on_connect(|connection, _| {
            // A page goes out in several pieces: without this, the last one waits for the client's delayed acknowledgement.
            if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>()
                && let Err(error) = stream.set_nodelay(true)
            {
                tracing::debug!(%error, "a connection keeps small pieces back");
            }
        })
        .listen(listener)?;
        Ok(server.run())
    }

    /// Writes down what is still in memory; for after the server has stopped.
    pub fn stop(&self) {
        self.gate.verifier.stop();
    }
}
