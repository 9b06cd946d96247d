//! `keyward events verify`: proves that no event was changed, removed, added or cut off.

use super::{Failure, Settings};
use crate::store::{StoreError, events, tenants};

#[derive(clap::Args)]
pub struct Events {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check every chain of events against its seal
    #[command(after_help = "Examples:\n  keyward events verify")]
    Verify(Settings),
}

pub fn run(args: &Events) -> Result<(), Failure> {
    let Command::Verify(settings) = &args.command;
    let app = settings.open()?;
    let secrets = app.secrets.clone();
    let found = app.store.snapshot(|db| -> Result<_, StoreError> {
        let names = tenants::all(db)?;
        let name = |chain| names.iter().find(|tenant| tenant.id.number() == chain).map_or("installation", |tenant| &tenant.slug);
        let mut found = Vec::new();
        for chain in events::chains(db)? {
            found.push((name(chain).to_owned(), events::verify(db, &secrets, chain)?));
        }
        Ok(found)
    })?;
    let mut faults = 0;
    for (name, outcome) in &found {
        match outcome {
            Ok(count) => println!("{name}: {count} events, whole"),
            Err(fault) => {
                faults += 1;
                println!("{name}: {fault}");
            }
        }
    }
    match faults {
        0 => Ok(()),
        _ => Err("the audit log is not whole: keep the database as it is and compare it with a backup".into()),
    }
}
