//! `keyward completions`: what a shell needs to complete commands and flags.

use clap_complete::{Shell, generate};

pub const EXAMPLES: &str = "Examples:
  keyward completions bash > /etc/bash_completion.d/keyward
  keyward completions zsh > \"${fpath[1]}/_keyward\"";

#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Completions, command: &mut clap::Command) {
    let mut text = Vec::new();
    generate(args.shell, command, "keyward", &mut text);
    print!("{}", String::from_utf8_lossy(&text));
}
