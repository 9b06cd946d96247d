//! `keyward config`: what the file, the environment and the flags come to.

use super::{Failure, Settings};
use crate::config::NAMES;

pub fn examples() -> String {
    let settings: String = NAMES.iter().map(|(name, what)| format!("  {name:<16} {what}\n")).collect();
    format!(
        "Settings, in keyward.toml by this name, in the environment as KEYWARD_NAME:
{settings}
Examples:
  keyward config
  KEYWARD_LISTEN=0.0.0.0:8080 keyward config --public-url https://keys.example.com"
    )
}

pub fn run(settings: &Settings) -> Result<(), Failure> {
    print!("{}", settings.load()?);
    Ok(())
}
