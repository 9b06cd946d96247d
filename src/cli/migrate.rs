//! `keyward migrate`: brings the tables up to date. `serve` does the same when it starts.

use super::{Failure, Settings};

pub const EXAMPLES: &str = "Examples:
  keyward migrate                                     before an upgrade is switched over
  keyward migrate --database-url postgres://db/keyward";

pub fn run(settings: &Settings) -> Result<(), Failure> {
    settings.open()?;
    println!("The tables are up to date.");
    Ok(())
}
